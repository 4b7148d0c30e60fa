"""Comparisons at equal rate and at equal error, and what is said where a curve ends."""

from __future__ import annotations

import pytest

from baselines.equal import Figure, gain_at_equal_rate, mean_figure, rate_of_equal_error
from baselines.overview import mip_table, overview_table
from baselines.summary import closed_form_curve, summary_table


def test_the_gain_is_interpolated_over_log_rate_and_limited_where_the_curve_ends():
    curve = [(2.0, 30.0), (8.0, 34.0)]
    assert gain_at_equal_rate(curve, 4, 33) == Figure(pytest.approx(1.0))
    assert gain_at_equal_rate(curve, 1, 29) == Figure(-1.0, ">")
    assert gain_at_equal_rate(curve, 16, 36) == Figure(2.0, "<")
    assert gain_at_equal_rate(curve[:1], 2, 31) == Figure(1.0)
    assert gain_at_equal_rate([], 2, 31) is None


def test_the_rate_of_an_equal_error_is_stated_as_a_limit_beyond_the_curve():
    curve = [(2.0, 0.08), (4.0, 0.06), (8.0, 0.04), (16.0, 0.05)]
    assert rate_of_equal_error(curve, 0.06) == Figure(pytest.approx(4.0))
    assert 4 < rate_of_equal_error(curve, 0.05).value < 8
    # The point that a cheaper one beats does not count.
    assert rate_of_equal_error(curve, 0.03) == Figure(8.0, ">")
    assert rate_of_equal_error(curve, 0.09) == Figure(2.0, "<")
    assert rate_of_equal_error([], 0.09) is None


def test_means_of_limits_are_limits():
    assert mean_figure([Figure(1), None, Figure(3, ">")]) == Figure(2, ">")
    assert mean_figure([Figure(1, "<"), Figure(3, ">")]).text(".1f") == "~ 2.0"
    assert mean_figure([None]) is None


def record(material, codec, bpp, psnr_db, flip_lit, mip=0, label=None, **more):
    return {
        "material": material,
        "codec": codec,
        "setting": label or f"{codec}-{bpp:g}",
        "label": label or f"{codec} {bpp:g}",
        "mip": mip,
        "width": 64 >> mip,
        "height": 64 >> mip,
        "bpp": bpp,
        "psnr": {"overall": psnr_db},
        "ssim": {"overall": None},
        "flip": None if flip_lit is None else flip_lit + 0.01,
        "flip_lit": flip_lit,
        "normal_angle_deg": None,
        "encode_time_s": None,
        "macs_per_texel": 100,
        "fetches_per_texel": 4,
        "bytes_fetched_per_texel": 16.0,
        "random_access": True,
        "bound_psnr_db": 40.0,
        "bound_side": 8,
        **more,
    }


def records_of(material, shift, mip=0):
    return [
        record(material, "astc", 2.0, 30.0, 0.08, mip),
        record(material, "astc", 8.0, 34.0, 0.04, mip),
        record(material, "klt8", 4.0, 33.0, 0.05, mip),
        record(material, "klt4", 4.0, 32.0, 0.06, mip),
        record(material, "neural-quality", 4.0, 33.0 + shift, 0.06, mip, "neural quality 5 bpp"),
        record(material, "bound", 4.0, 40.0, None, mip, macs_per_texel=None, fetches_per_texel=None),
    ]


def cell(table, row, column):
    (found,) = [each for each in table.rows if each[0] == row]
    return found[list(table.header).index(column)]


def test_the_distance_to_the_bound_stands_first_and_the_rate_of_equal_flip_beside():
    table = summary_table(records_of("a", 1.0))
    assert list(table.header[:4]) == ["codec", "bpp", "below bound dB", "PSNR dB"]
    assert cell(table, "neural quality 5 bpp", "below bound dB") == "6.00"
    assert cell(table, "neural quality 5 bpp", "over ASTC dB") == "+2.00"
    assert float(cell(table, "neural quality 5 bpp", "ASTC bpp, equal FLIP lit")) == pytest.approx(4.0)
    assert (cell(table, "bound 4", "below bound dB"), cell(table, "bound 4", "MACs/texel")) == (None, None)
    assert cell(table, "neural quality 5 bpp", "fetches/texel") == 4


def test_the_overview_has_means_the_least_gain_and_the_farthest_from_the_bound():
    table = overview_table([*records_of("a", 1.0), *records_of("b", -1.0), *records_of("a", 9.0, mip=1)])
    row = "neural quality 5 bpp"
    assert cell(table, row, "farthest below bound dB") == "8.00 (b)"
    assert cell(table, row, "mean below bound dB") == "7.00"
    assert cell(table, row, "mean PSNR dB") == 33.0
    assert (cell(table, row, "mean over ASTC dB"), cell(table, row, "least over ASTC dB")) == ("+1.00", "+0.00 (b)")
    assert cell(table, row, "mean over KLT dB") == "+0.00"
    only_one = overview_table([*records_of("a", 1.0), record("b", "astc", 2.0, 31.0, 0.07)])
    assert [each[0] for each in only_one.rows] == ["astc 2"], "a row lacks materials"


def test_mips_are_compared_with_codecs_of_the_same_mip_alone():
    assert mip_table(records_of("a", 1.0)) is None
    table = mip_table([*records_of("a", 1.0), *records_of("a", 2.0, mip=1)])
    gain = list(table.header).index("over ASTC dB")
    assert [(row[2], row[3], row[gain]) for row in table.rows] == [("0", "64 x 64", "+2.00"), ("1", "32 x 32", "+3.00")]


def test_a_transform_of_blocks_too_large_for_the_image_is_not_compared_with():
    records = records_of("a", 1.0)
    assert closed_form_curve(records[4], records) == [(4.0, 33.0)]
    assert closed_form_curve({**records[4], "bound_side": 4}, records) == [(4.0, 32.0)]
    assert closed_form_curve({**records[4], "bound_side": 2}, records) == []
