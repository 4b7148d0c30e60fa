"""What the training bar shows, and what an evaluation on the way may cost."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from tqdm import tqdm

from configs import N_CHANNELS
from model.grids.tiles import TileGroup, flat_index
from reporting.console import training_bar, with_unit
from reporting.metrics import psnr_of_maps
from training.loss import to_file_coding
from training.schedule import Schedule
from training.session import Session

PART_TILES, PART_SIDE = 16, 32
"""Tiles of the finest mip that are decoded for the bar before the first evaluation, and their side in texels."""
PART_INTERVAL_S = 1.0
"""Seconds between two such looks."""


def psnr_of_part(session: Session) -> float:
    """Return the overall PSNR, dB, of a few tiles spread over the finest mip: a first look that costs about a step."""
    width, height = session.sampler.sizes[0]
    columns, rows = np.arange(min(PART_SIDE, width)), np.arange(min(PART_SIDE, height))
    # Shares of the golden ratio's powers spread points evenly.
    places = np.arange(1, PART_TILES + 1)[:, None] * (0.7548776662, 0.5698402910) % 1
    x = (places[:, :1] * (width - len(columns) + 1)).astype(np.int64) + columns
    y = (places[:, 1:] * (height - len(rows) + 1)).astype(np.int64) + rows
    values = session.texture.predict([TileGroup(0, x, y)], session.config.quantize.quantize)
    coded = to_file_coding(values.clamp(0, 1), session.linear_diffuse).mul(255).round()
    texels = torch.from_numpy(flat_index(y, x, width).reshape(-1)).to(coded.device)
    error = (coded - session.sampler.texels[texels]).square().mean(0)
    mse = np.zeros(N_CHANNELS)
    mse[session.channels] = error.cpu().numpy()
    return psnr_of_maps(mse, session.texture_set.present)["overall"]


class Progress:
    """The training bar: iterations, time left, loss, and PSNR as soon as there is one."""

    def __init__(self, session: Session, schedule: Schedule, shown: bool) -> None:
        self.session, self.schedule = session, schedule
        self.first, self.first_position = session.iteration, schedule.position
        self.bar: tqdm = training_bar(
            session.config.train.max_iter, session.iteration, "training" if shown else "trial"
        )
        self.psnr_db: float | None = None
        """Of the last evaluation."""
        self.part_db, self.looked_at_s = math.nan, -math.inf
        """PSNR of a part, dB, and when it was taken."""

    def update(self, loss: float) -> None:
        """Show this iteration; `loss` is its loss."""
        bar, iteration = self.bar, self.session.iteration
        if bar.disable:
            return
        done = self.schedule.position - self.first_position
        left = max(self.schedule.end - self.schedule.position, 0.0)
        bar.total = iteration + round((iteration - self.first) * left / done) if done else None
        bar.update(iteration - bar.n)
        bar.set_postfix_str(f"loss {loss:.6f}{self._psnr_text()}")

    def _psnr_text(self) -> str:
        if self.psnr_db is not None:
            return f", PSNR {with_unit(self.psnr_db)}"
        now = time.perf_counter()
        if now - self.looked_at_s >= PART_INTERVAL_S:
            self.looked_at_s, self.part_db = now, psnr_of_part(self.session)
        return f", PSNR about {with_unit(self.part_db)}"

    def close(self) -> None:
        self.bar.close()
