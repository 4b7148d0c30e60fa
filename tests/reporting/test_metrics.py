"""Metrics against hand-worked values and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reporting import metrics, weights

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
    expected = 10 * math.log10(255 ** 2 / np.mean((a.astype(float) - b) ** 2))
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
    assert result["overall"] == pytest.approx(10 * math.log10(255 ** 2 / ((3 * 36 + 4) / 4)))
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
            p, q = x[row:row + 11, column:column + 11], y[row:row + 11, column:column + 11]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            cov = (window * (p - mean_p) * (q - mean_q)).sum()
            values.append((2 * mean_p * mean_q + 1e-4) * (2 * cov + 9e-4)
                          / ((mean_p ** 2 + mean_q ** 2 + 1e-4) * (var_p + var_q + 9e-4)))
    return float(np.mean(values))


def test_ssim_equals_its_definition_and_is_the_mean_over_channels():
    a = _noise((15, 19, 2), 3)
    b = np.clip(a + np.random.default_rng(4).normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    expected = (_plain_ssim(a[..., 0], b[..., 0]) + _plain_ssim(a[..., 1], b[..., 1])) / 2
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-4)


def test_ssim_in_strips_equals_ssim_at_once():
    # This width makes strips of 11 rows; 24 rows leave a thin last one.
    a = _noise((24, 1 << 17), 5)
    b = a // 2 + _noise(a.shape, 6) // 2
    columns = slice(1000, 1040)
    strips = metrics.ssim(a, b)
    import torch
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure
    x, y = (torch.from_numpy(image)[None, None].float() / 255 for image in (a, b))
    assert strips == pytest.approx(float(structural_similarity_index_measure(x, y, data_range=1.0)), abs=1e-5)
    assert metrics.ssim(a[:, columns], b[:, columns]) != pytest.approx(strips, abs=1e-9)


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


def test_lpips_without_weights_is_off_with_one_line_that_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lpips = metrics.Lpips(download=False)
    assert not lpips.available
    assert lpips.reason.startswith("LPIPS is off") and "download" in lpips.reason and "\n" not in lpips.reason
    assert lpips(_noise((128, 128, 3)), _noise((128, 128, 3))) is None


def test_a_download_that_fails_is_tried_once(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = (tmp_path / "missing-0123abcd.pth").as_uri()
    first = weights.ensure_weights(url)
    assert "could not be downloaded" in first and "\n" not in first
    (tmp_path / "missing-0123abcd.pth").write_bytes(b"there now")
    assert weights.ensure_weights(url) == first


def test_a_download_is_kept_only_where_its_hash_fits_its_name(monkeypatch, tmp_path):
    import hashlib
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    data = b"weights"
    good = tmp_path / f"good-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    bad = tmp_path / "bad-00000000.pth"
    for path in (good, bad):
        path.write_bytes(data)
    assert weights.ensure_weights(good.as_uri()) == ""
    assert (tmp_path / "home" / "hub" / "checkpoints" / good.name).read_bytes() == data
    assert "damaged" in weights.ensure_weights(bad.as_uri())
    assert not (tmp_path / "home" / "hub" / "checkpoints" / bad.name).exists()


def test_lpips_from_weights_in_the_cache_is_zero_for_equal_images(monkeypatch, tmp_path):
    import hashlib

    import torch
    import torchvision
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), folder / "random.pth")
    digest = hashlib.sha256((folder / "random.pth").read_bytes()).hexdigest()[:8]
    name = f"alexnet-random-{digest}.pth"
    (folder / "random.pth").rename(folder / name)
    weight = torchvision.models.AlexNet_Weights.DEFAULT
    monkeypatch.setitem(vars(weight.value), "url", f"https://example.invalid/{name}")
    lpips = metrics.Lpips()
    assert lpips.available, lpips.reason
    a, b = _noise((128, 130, 3), 1), _noise((128, 130, 3), 2)
    assert lpips(a, a) == pytest.approx(0, abs=1e-6)
    assert lpips(a, b) > 1e-4
    assert lpips(a[:100], b[:100]) is None
