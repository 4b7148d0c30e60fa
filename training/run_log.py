"""TensorBoard output of a run, under the tags that users' dashboards know."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter

from dataset import TextureSet
from reporting.metrics import LPIPS_MIN_SIDE, Lpips
from reporting.pictures import contact_sheet

MEAN_MIN_SIDE = 16
"""Mips with a smaller side do not count in the means over mips."""


class RunLog:
    """Writes losses, metrics per mip and their means, and pictures."""

    def __init__(self, folder: Path, texture_set: TextureSet, lpips: Lpips | None) -> None:
        self.writer = SummaryWriter(str(folder))
        self.texture_set, self.lpips = texture_set, lpips

    def loss(self, iteration: int, loss: float) -> None:
        self.writer.add_scalar("Loss/train", loss, iteration)

    def _per_mip(self, tag: str, iteration: int, values: list[float | None]) -> None:
        large = []
        for mip, value in enumerate(values):
            if value is None or math.isinf(value):
                continue
            self.writer.add_scalar(f"{tag}_LOD{mip}/train", value, iteration)
            if min(self.texture_set.mips[mip].shape[:2]) >= MEAN_MIN_SIDE:
                large.append(value)
        if large:
            self.writer.add_scalar(f"{tag}/train", sum(large) / len(large), iteration)

    def psnr(self, iteration: int, psnr_db: list[float]) -> None:
        """Log overall PSNR of every mip."""
        self._per_mip("PSNR", iteration, psnr_db)

    def decoded(self, iteration: int, mips: list[np.ndarray], ssim: list[float | None]) -> None:
        """Log pictures, LPIPS and the SSIM (overall, per mip) of decoded mips, uint8 [H, W, 11]."""
        present = self.texture_set.present
        self._per_mip("SSIM", iteration, ssim)
        if self.lpips and self.lpips.available and present.get("diffuse"):
            self._per_mip("LPIPS", iteration, [
                self.lpips(reference[..., :3], decoded[..., :3]) if min(reference.shape[:2]) >= LPIPS_MIN_SIDE else None
                for reference, decoded in zip(self.texture_set.mips, mips)])
        for mip, (reference, decoded) in enumerate(zip(self.texture_set.mips, mips)):
            if min(reference.shape[:2]) >= MEAN_MIN_SIDE and mip < 4:
                sheet = np.asarray(contact_sheet(reference, decoded, present, max_side=256))
                self.writer.add_image(f"LOD{mip}/maps", sheet, iteration, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
