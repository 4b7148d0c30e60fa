"""Image metrics on 8-bit maps in the file's own coding: pure functions, NumPy in, float out.

Torch and the optional packages are imported inside the functions that need them, because they are slow to import.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from configs import TEXTURE_CHANNELS

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window, texels; smaller maps have no SSIM."""
LPIPS_MIN_SIDE = 128
"""LPIPS is not taken on images with a side below this, texels."""
_BLOCK_VALUES = 1 << 22


def channel_ranges() -> dict[str, slice]:
    """Return the channels of each map type in canonical order."""
    ranges, first = {}, 0
    for name, count in TEXTURE_CHANNELS.items():
        ranges[name] = slice(first, first + count)
        first += count
    return ranges


def present_ranges(present: Mapping[str, bool]) -> dict[str, slice]:
    """Return the channels of the maps that are present, in canonical order."""
    return {name: channels for name, channels in channel_ranges().items() if present.get(name, False)}


def _row_blocks(reference: np.ndarray, decoded: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield matching blocks of rows, so that float copies of a 4096 x 4096 x 11 set never exist whole."""
    if reference.shape != decoded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, decoded {decoded.shape}")
    rows = max(1, _BLOCK_VALUES // max(1, math.prod(reference.shape[1:])))
    for first in range(0, reference.shape[0], rows):
        yield reference[first:first + rows], decoded[first:first + rows]


def mean_squared_error(reference: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each channel of uint8 `[H, W, C]`: `[C]` float64, in 8-bit steps squared."""
    total = np.zeros(reference.shape[2], np.float64)
    for ours, theirs in _row_blocks(reference, decoded):
        difference = ours.astype(np.float32)
        difference -= theirs
        total += np.square(difference, out=difference).sum(axis=(0, 1), dtype=np.float64)
    return total / (reference.shape[0] * reference.shape[1])


def psnr_of_mse(mse: float, peak: float = 255.0) -> float:
    """Return PSNR in dB for a mean squared error; `inf` where it is zero.

    >>> round(psnr_of_mse(1.0), 2)
    48.13
    """
    return math.inf if mse == 0 else 10 * math.log10(peak * peak / mse)


def psnr(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Return PSNR in dB of uint8 arrays of one shape (any number of axes), peak 255; `inf` where identical."""
    if reference.size == 0:
        raise ValueError("PSNR of an empty image")
    if reference.shape != decoded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, decoded {decoded.shape}")
    rows = (image.reshape(len(image), -1, 1) for image in (reference, decoded))
    return psnr_of_mse(float(mean_squared_error(*rows)[0]))


def material_psnr(reference: np.ndarray, decoded: np.ndarray, present: Mapping[str, bool]) -> dict[str, float]:
    """Return PSNR in dB, overall and of each present map, of uint8 `[H, W, 11]` texture sets in file coding.

    `overall` comes from the mean squared error over all present channels, so a map counts by its channels.
    """
    return psnr_of_maps(mean_squared_error(reference, decoded), present)


def psnr_of_maps(mse: np.ndarray, present: Mapping[str, bool]) -> dict[str, float]:
    """Return `material_psnr` of the mean squared errors [11] of the channels, in 8-bit steps squared."""
    ranges = present_ranges(present)
    if not ranges:
        raise ValueError("no map is present")
    result = {"overall": psnr_of_mse(float(np.concatenate([mse[channels] for channels in ranges.values()]).mean()))}
    for name, channels in ranges.items():
        result[name] = psnr_of_mse(float(mse[channels].mean()))
    return result


def ssim(reference: np.ndarray, decoded: np.ndarray) -> float | None:
    """Return the structural similarity of uint8 `[H, W]` or `[H, W, C]` images, mean over channels.

    Gaussian 11 x 11 window, sigma 1.5, K1 0.01, K2 0.03, data range 1 (Wang et al. 2004, by torchmetrics), borders
    mirrored. `None` where a side is below 11. Strips of rows with a margin keep memory small; the result is the same.
    """
    import torch
    from torchmetrics.functional.image.ssim import structural_similarity_index_measure

    if reference.shape != decoded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, decoded {decoded.shape}")
    height, width = reference.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        return None
    reference, decoded = (image.reshape(height, width, -1) for image in (reference, decoded))
    margin = SSIM_WINDOW // 2
    strip = max(SSIM_WINDOW, (1 << 18) // width)
    total = 0.0
    for channel in range(reference.shape[2]):
        for first in range(0, height, strip):
            last = min(first + strip, height)
            # The last strip may be thinner than the mirrored border needs, so the margin above it is a whole window.
            top, bottom = max(first - SSIM_WINDOW, 0), min(last + margin, height)
            ours, theirs = (torch.from_numpy(np.ascontiguousarray(image[top:bottom, :, channel])).float()[None, None]
                            / 255 for image in (reference, decoded))
            _, similarity = structural_similarity_index_measure(theirs, ours, data_range=1.0, return_full_image=True)
            total += similarity[0, 0, first - top:last - top].double().sum().item()
    return total / (height * width * reference.shape[2])


def material_ssim(reference: np.ndarray, decoded: np.ndarray, present: Mapping[str, bool]) -> dict[str, float | None]:
    """Return SSIM of each present map of uint8 `[H, W, 11]` sets, and `overall`, their mean; `None` below 11 texels."""
    values = {name: ssim(reference[..., channels], decoded[..., channels])
              for name, channels in present_ranges(present).items()}
    if not values:
        raise ValueError("no map is present")
    overall = None if None in values.values() else sum(values.values()) / len(values)
    return {"overall": overall, **values}


def normal_angle(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Return the mean angle in degrees between the unit normals coded in uint8 `[H, W, 3]` maps.

    >>> up, right = np.array([[[128, 128, 255]]], np.uint8), np.array([[[255, 128, 128]]], np.uint8)
    >>> round(normal_angle(up, right))
    90
    """
    total = 0.0
    for ours, theirs in _row_blocks(reference, decoded):
        a, b = (block.astype(np.float64) / 127.5 - 1 for block in (ours, theirs))
        # atan2 keeps its precision at small angles, where arccos of the dot product does not.
        total += np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)).sum()
    return math.degrees(total / (reference.shape[0] * reference.shape[1]))


def flip(reference: np.ndarray, decoded: np.ndarray) -> float | None:
    """Return the mean FLIP error, 0 (equal) to 1, of sRGB uint8 `[H, W, 3]` images; `None` without `flip-evaluator`.

    Andersson et al. 2020, low dynamic range, 67 pixels per degree.
    """
    try:
        import flip_evaluator
    except ImportError:
        return None
    images = [np.ascontiguousarray(image, np.float32) / 255 for image in (reference, decoded)]
    return float(flip_evaluator.evaluate(*images, "LDR", applyMagma=False)[1])


@contextmanager
def _safe_unpickling() -> Iterator[None]:
    """Make every `torch.load` inside refuse anything but tensors, whatever the caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


class Lpips:
    """Learned perceptual image patch similarity (Zhang et al. 2018, AlexNet), off where its weights cannot be had.

    `available` says whether it is on, `reason` is one line that says why not and how to get it.
    """

    def __init__(self, device: str = "cpu", download: bool = True) -> None:
        self.available = False
        self.device = device
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
            from torchvision.models import AlexNet_Weights
        except ImportError as error:
            missing = error.name or "torchvision"
            self.reason = f"LPIPS is off: {missing} is missing; pip install torchmetrics torchvision"
            return
        from reporting.weights import ensure_weights

        self.reason = ensure_weights(AlexNet_Weights.DEFAULT.url, download)
        if self.reason:
            self.reason = f"LPIPS is off: {self.reason}"
            return
        try:
            with _safe_unpickling():
                metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
        except Exception as error:  # a damaged file fails in many ways, and LPIPS must never stop a run
            self.reason = (f"LPIPS is off: its weights do not load ({type(error).__name__}); "
                           "delete them to fetch them anew")
            return
        self._network = metric.net.to(device).eval()
        self.available = True

    def __call__(self, reference: np.ndarray, decoded: np.ndarray) -> float | None:
        """Return LPIPS of sRGB uint8 `[H, W, 3]` images, 0 where equal; `None` where off or a side is below 128."""
        if not self.available or min(reference.shape[:2]) < LPIPS_MIN_SIDE:
            return None
        import torch

        with torch.no_grad():
            images = [torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
                      for image in (decoded, reference)]
            return float(self._network(*images, normalize=True).mean())
