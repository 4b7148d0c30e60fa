"""A run's quality figures, each taken once on what the exported files decode to, as a manifest lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from formats.figures import State, figure_list
from images.mask import Mask
from reporting.lpips import LPIPS_MIN_SIDE, shared_lpips
from reporting.metrics import (
    channel_ranges,
    flip,
    material_psnr,
    material_ssim,
    normal_angle,
    present_ranges,
    psnr_of_mse,
)

Mips = Mapping[int, np.ndarray]
"""Mip -> uint8 `[H, W, 11]` in file coding; without gaps from mip 0 on."""


Figures = Mapping[str, float | State | None]
"""One mip's figures by name."""


def _lists(per_mip: list[Figures]) -> dict[str, list[float | None]]:
    """Turn one mapping of names per mip into one list of mips per name."""
    return {name: figure_list(values[name] for values in per_mip) for name in per_mip[0]}


def _of_map(
    name: str,
    metric: Callable[[np.ndarray, np.ndarray], float | None],
    references: Mips,
    decoded: Mips,
    present: Mapping[str, bool],
    min_side: int = 1,
) -> list[float | None]:
    """Return a metric of one map for each mip whose sides are at least `min_side`; empty where the map is missing."""
    if not present.get(name):
        return []

    def value(reference: np.ndarray, image: np.ndarray) -> float | State | None:
        return State.IDENTICAL if np.array_equal(reference, image) else metric(reference, image)

    channels = channel_ranges()[name]
    return figure_list(
        value(references[mip][..., channels], image[..., channels])
        for mip, image in decoded.items()
        if min(image.shape[:2]) >= min_side
    )


def _ssim(reference: np.ndarray, image: np.ndarray, present: Mapping[str, bool]) -> Figures:
    """Return SSIM overall and of each map."""
    values = material_ssim(reference, image, present)
    identical = {
        name: np.array_equal(reference[..., channels], image[..., channels])
        for name, channels in present_ranges(present).items()
    }
    identical["overall"] = all(identical.values())
    return {name: State.IDENTICAL if identical[name] and value is not None else value for name, value in values.items()}


def error_figures(
    references: Mips, decoded: Mips, present: Mapping[str, bool], mask: Mask | None = None
) -> dict[str, object]:
    """Return `psnr` (dB, overall and of each map) and `normal_angle_deg`.

    Both are of all texels; with a `mask` there is `psnr_used` as well, to which a texel counts by its used share.
    """
    psnr = _lists([material_psnr(references[mip], image, present) for mip, image in decoded.items()])
    angles = _of_map("normal", normal_angle, references, decoded, present)
    figures: dict[str, object] = {"psnr": psnr, **({"normal_angle_deg": angles} if angles else {})}
    if mask:
        figures["psnr_used"] = _lists(
            [material_psnr(references[mip], image, present, mask.shares[mip]) for mip, image in decoded.items()]
        )
    return figures


def deep_figures(errors: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """Return `psnr_16bit` (dB) of the maps deeper than 8 bits, empty where there is none.

    `errors`: each map's mean squared error of every mip, of 16-bit values, in 16-bit steps squared.
    """
    listed = {name: figure_list(psnr_of_mse(mse, 65535.0) for mse in mips) for name, mips in errors.items()}
    return {"psnr_16bit": listed} if listed else {}


def similarity_figures(references: Mips, decoded: Mips, present: Mapping[str, bool]) -> dict[str, object]:
    """Return `ssim` (overall and of each map) and, where `flip-evaluator` is there, `flip` of the diffuse map."""
    ssim = _lists([_ssim(references[mip], image, present) for mip, image in decoded.items()])
    errors = _of_map("diffuse", flip, references, decoded, present)
    return {"ssim": ssim, **({"flip": {"diffuse": errors}} if errors else {})}


def perceptual_figures(references: Mips, decoded: Mips, present: Mapping[str, bool]) -> dict[str, object]:
    """Return `lpips` of the diffuse map for mips with sides of at least 128 texels.

    Empty where there is no such mip or LPIPS is off, of which the process says so once.
    """
    if not present.get("diffuse") or min(references[0].shape[:2]) < LPIPS_MIN_SIDE:
        return {}
    lpips = shared_lpips()
    if lpips.reason:
        return {}
    return {"lpips": {"diffuse": _of_map("diffuse", lpips, references, decoded, present, LPIPS_MIN_SIDE)}}
