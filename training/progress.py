"""What the training bar shows, and what an evaluation on the way may cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
Listener = Callable[[str, int, float, "float | None", "float | None"], None]
"""Takes the phase (training, or trial of a search for a rate), the iteration, the share that is done (0 to 1), PSNR (dB)
and the time left (s); the last two are None while they are not known."""


class _Listening:
    listener: Listener | None = None


@contextmanager
def progress_told(listener: Listener) -> Iterator[None]:
    """While entered, `listener` is told about once a second how far a training is, whether or not there is a bar."""
    _Listening.listener = listener
    try:
        yield
    finally:
        _Listening.listener = None


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
        self.phase = "training" if shown else "trial"
        self.bar: tqdm = training_bar(session.config.train.max_iter, session.iteration, self.phase)
        self.psnr_db: float | None = None
        """Of the last evaluation."""
        self.part_db, self.looked_at_s = math.nan, -math.inf
        """PSNR of a part, dB, and when it was taken."""
        self.began_s, self.told_s = time.perf_counter(), -math.inf
        """When the training began, and when the listener was told last."""

    def update(self, loss: float) -> None:
        """Show this iteration; `loss` is its loss."""
        bar, iteration = self.bar, self.session.iteration
        done = self.schedule.position - self.first_position
        left = max(self.schedule.end - self.schedule.position, 0.0)
        if _Listening.listener:
            self._tell(_Listening.listener, done, left)
        if bar.disable:
            return
        bar.total = iteration + round((iteration - self.first) * left / done) if done else None
        bar.update(iteration - bar.n)
        bar.set_postfix_str(f"loss {loss:.6f}{self._psnr_text()}")

    def _tell(self, listener: Listener, done: float, left: float) -> None:
        now = time.perf_counter()
        if now - self.told_s >= PART_INTERVAL_S:
            self.told_s = now
            left_s = (now - self.began_s) * left / done if done > 0 else None
            psnr_db = self._part_psnr() if self.psnr_db is None else self.psnr_db
            listener(self.phase, self.session.iteration, min(max(self.schedule.fraction, 0.0), 1.0), psnr_db, left_s)

    def _part_psnr(self) -> float:
        """Return the PSNR of a part of the texels, dB, taken at most once a second."""
        now = time.perf_counter()
        if now - self.looked_at_s >= PART_INTERVAL_S:
            self.looked_at_s, self.part_db = now, psnr_of_part(self.session)
        return self.part_db

    def _psnr_text(self) -> str:
        if self.psnr_db is not None:
            return f", PSNR {with_unit(self.psnr_db)}"
        return f", PSNR about {with_unit(self._part_psnr())}"

    def close(self) -> None:
        self.bar.close()
