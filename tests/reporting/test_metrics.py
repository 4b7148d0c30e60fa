"""Metrics against hand-worked values and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reporting import metrics

ALL = dict.fromkeys(("diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement"), False)


def _noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_psnr_of_a_constant_error_is_the_hand_worked_value():
    a = np.full((4, 6, 3), 100, np.uint8)
    assert metrics.psnr(a, a + 5) == pytest.approx(20 * math.log10(255 / 5))


def test_psnr_does_not_wrap_around_in_either_direction():
    black, white = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert metrics.psnr(black, white) == pytest.approx(0)
    assert metrics.psnr(white, black) == pytest.approx(0)


def test_identical_images_have_infinite_psnr_and_full_ssim():
    a = _noise((16, 16, 3))
    assert metrics.psnr(a, a) == math.inf
    assert metrics.ssim(a, a) == pytest.approx(1)
    assert metrics.normal_angle(a, a) == pytest.approx(0, abs=1e-6)


def test_psnr_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.psnr(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 1), np.uint8))


def test_psnr_in_row_blocks_equals_psnr_at_once(monkeypatch):
    a, b = _noise((37, 11, 3), 1), _noise((37, 11, 3), 2)
    expected = 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
    monkeypatch.setattr(metrics, "_BLOCK_VALUES", 64)
    assert metrics.psnr(a, b) == pytest.approx(expected, abs=1e-9)


def test_overall_psnr_counts_present_channels_alone_and_each_by_its_channels():
    a = np.full((5, 7, 11), 50, np.uint8)
    b = a.copy()
    b[..., :3] += 6
    b[..., 6] += 2
    b[..., 8] = 255
    result = metrics.material_psnr(a, b, {**ALL, "diffuse": True, "roughness": True})
    assert list(result) == ["overall", "diffuse", "roughness"]
    assert result["overall"] == pytest.approx(10 * math.log10(255**2 / ((3 * 36 + 4) / 4)))
    assert result["diffuse"] == pytest.approx(20 * math.log10(255 / 6))
    assert result["roughness"] == pytest.approx(20 * math.log10(255 / 2))


def _plain_ssim(a, b):
    """SSIM from its definition: Gaussian 11 x 11, sigma 1.5, mirrored borders, loops over windows."""
    x, y = a / 255.0, b / 255.0
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / np.outer(taps, taps).sum()
    x, y = np.pad(x, 5, mode="reflect"), np.pad(y, 5, mode="reflect")
    values = []
    for row in range(a.shape[0]):
        for column in range(a.shape[1]):
            p, q = x[row : row + 11, column : column + 11], y[row : row + 11, column : column + 11]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            cov = (window * (p - mean_p) * (q - mean_q)).sum()
            values.append(
                (2 * mean_p * mean_q + 1e-4)
                * (2 * cov + 9e-4)
                / ((mean_p**2 + mean_q**2 + 1e-4) * (var_p + var_q + 9e-4))
            )
    return float(np.mean(values))


def test_ssim_equals_its_definition_and_is_the_mean_over_channels():
    a = _noise((15, 19, 2), 3)
    b = np.clip(a + np.random.default_rng(4).normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    expected = (_plain_ssim(a[..., 0], b[..., 0]) + _plain_ssim(a[..., 1], b[..., 1])) / 2
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("height, width", [(11, 11), (12, 97), (101, 192), (193, 96)])
def test_ssim_in_tiles_equals_an_independent_implementation_at_once(height, width):
    import torch
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    a = _noise((height, width, 3), 5)
    b = np.clip(a + np.random.default_rng(6).normal(0, 25, a.shape), 0, 255).astype(np.uint8)
    x, y = (torch.from_numpy(image).permute(2, 0, 1)[:, None].double() / 255 for image in (a, b))
    expected = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none").numpy()
    assert metrics.ssim_of_channels(a, b, [2, 0]) == pytest.approx(expected[[2, 0]], abs=1e-5)
    assert metrics.ssim(a, b) == pytest.approx(expected.mean(), abs=1e-5)


def test_maps_smaller_than_the_window_have_no_ssim():
    a = _noise((10, 40, 11))
    assert metrics.ssim(a, a) is None
    assert metrics.material_ssim(a, a, {**ALL, "normal": True}) == {"overall": None, "normal": None}


def test_overall_ssim_is_the_mean_over_maps():
    a, b = _noise((12, 12, 11), 7), _noise((12, 12, 11), 8)
    result = metrics.material_ssim(a, b, {**ALL, "diffuse": True, "metallic": True})
    assert result["overall"] == pytest.approx((result["diffuse"] + result["metallic"]) / 2)
    assert result["diffuse"] == pytest.approx(metrics.ssim(a[..., :3], b[..., :3]))


def test_normal_angle_is_in_degrees_and_ignores_the_vectors_length():
    def coded(vector):
        return np.round((np.array(vector) + 1) * 127.5).astype(np.uint8).reshape(1, 1, 3)

    tilt = math.radians(30)
    tilted = coded([math.sin(tilt), 0, math.cos(tilt)])
    assert metrics.normal_angle(coded([0, 0, 1]), tilted) == pytest.approx(30, abs=0.4)
    assert metrics.normal_angle(coded([0, 0, 0.5]), tilted) == pytest.approx(30, abs=0.7)
    assert metrics.normal_angle(coded([1, 0, 0]), coded([-1, 0, 0])) == pytest.approx(180, abs=0.7)


def test_flip_is_zero_for_equal_images_and_large_for_black_against_white():
    pytest.importorskip("flip_evaluator", reason="flip-evaluator is not installed")
    a = _noise((32, 32, 3))
    assert metrics.flip(a, a) == pytest.approx(0, abs=1e-6)
    assert metrics.flip(np.zeros_like(a), np.full_like(a, 255)) > 0.9
