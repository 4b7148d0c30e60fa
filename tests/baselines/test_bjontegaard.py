"""Mean differences of rate-distortion curves."""

from __future__ import annotations

import pytest

from baselines.bjontegaard import bd_psnr, bd_rate, psnr_at, rising_curve


def test_bjontegaard_differences_of_shifted_curves_are_the_shift():
    anchor = [(2.0, 28.0), (4.0, 32.0), (8.0, 35.0), (16.0, 37.0)]
    assert bd_psnr(anchor, [(bpp, psnr + 1.5) for bpp, psnr in anchor]) == pytest.approx(1.5)
    assert bd_rate(anchor, [(bpp * 0.8, psnr) for bpp, psnr in anchor]) == pytest.approx(-20)
    assert bd_rate(anchor, [(bpp * 2, psnr) for bpp, psnr in anchor]) == pytest.approx(100)


def test_bjontegaard_differences_take_the_overlap_alone():
    # Straight lines in log rate: PCHIP reproduces them, and the mean over [2, 4] is worked by hand.
    anchor, test = [(1.0, 30.0), (4.0, 34.0)], [(2.0, 33.0), (8.0, 39.0)]
    assert bd_psnr(anchor, test) == pytest.approx(((33 - 32) + (36 - 34)) / 2)
    assert bd_psnr(anchor, [(5.0, 33.0), (8.0, 39.0)]) is None
    assert bd_rate(anchor, [(2.0, 33.0)]) is None


def test_curves_drop_points_that_a_cheaper_one_beats():
    assert rising_curve([(4, 30), (2, 31), (8, 33), (8, 32)]) == [(2, 31), (8, 33)]
    assert psnr_at([(2, 30), (8, 34)], 4) == pytest.approx(32)
    assert psnr_at([(2, 30), (8, 34)], 9) is None
