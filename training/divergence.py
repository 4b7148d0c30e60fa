"""Whether a training has diverged, and the last good state, to which the run goes back.

It is looked at where the loss is read and where the model is evaluated or saved, so that the steps cost nothing more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from configs import N_CHANNELS
from model.decoder.canonical import canonical_weights
from reporting.console import say, with_unit
from reporting.metrics import psnr_of_maps
from training.checkpoint import Checkpoint
from training.run_folder import session_checkpoint
from training.schedule import Schedule, plain_values
from utils.errors import UserError

if TYPE_CHECKING:
    from training.session import Session

COLLAPSE_DB = 10.0
"""A model this far below the run's best evaluation has diverged: ten times its squared error.

Evaluated every 10 iterations, which is far more often than by default, sound runs on three materials with three presets
fell by 3 dB at most, in their first 100 iterations.
"""
LOST_DB = 6.0
"""So has one this far below it, twice the error, that is no better than the maps' mean colours."""
EXACT_DB = 48.13
"""Nothing is expected beyond an error of one 8-bit step: whether a model is exact or nearly so is chance."""
FAIR_DB = 40.0
"""A model this good is not compared with the mean colours, which may be as good on maps that are all but constant."""
WARNING = "WARNING"
"""Title of what must not be overlooked."""
SETTLING_ITERATIONS = 100
"""Before this many nothing is said of a model that is far from the mean colours: sound runs may be too."""


class Diverged(UserError):
    """The training has diverged; the message says how that shows."""


def require_finite_loss(loss: float) -> None:
    """Raise `Diverged` where a loss is not finite."""
    if not math.isfinite(loss):
        raise Diverged(f"the loss is {loss}")


def require_finite(session: Session) -> None:
    """Raise `Diverged` where grids or network hold what no export could: values that are not finite as they are stored.

    A few bad texels of a grid need not show in the loss of a batch, which may not have drawn them.
    """
    for index, table in enumerate(session.texture.grids.tables):
        # A sum is finite only if its terms are, which the clamped features cannot overflow.
        if not table.sum().isfinite():
            raise Diverged(f"grid {index} holds features that are not finite")
    precision = session.layout.network_precision
    weights = canonical_weights(session.texture.decoder)
    if not weights.to(torch.float32 if precision == "float32" else torch.float16).isfinite().all():
        raise Diverged(f"the network holds weights that {precision} cannot store")


def mean_colour_psnr(session: Session) -> float:
    """Return the PSNR, dB, of the finest mip's best constant: every channel its mean."""
    texels = session.sampler.mip_texels(0)
    count = texels.shape[0] * texels.shape[1]
    first = torch.zeros(texels.shape[2], dtype=torch.float64)
    second = torch.zeros_like(first)
    # By rows, since float copies of a whole set would take gigabytes.
    for rows in texels.split(max(1, (1 << 22) // texels[0].numel())):
        values = rows.reshape(-1, texels.shape[2]).to(torch.int64)
        first += values.sum(0).cpu()
        second += values.square_().sum(0).cpu()
    mse = np.zeros(N_CHANNELS)
    mse[session.channels] = (second / count - (first / count).square()).clamp(min=0).numpy()
    return psnr_of_maps(mse, session.texture_set.present)["overall"]


class LastGood:
    """Judges a session at its evaluations, and holds the state of the last one that was good.

    The state lies where the model does, so that a copy takes no longer than reading it: values, network and the state of
    the optimisers, three times the grids.
    """

    def __init__(self, session: Session, schedule: Schedule, start: Checkpoint | None = None) -> None:
        """`start`: the checkpoint that the session goes on from, which is good until there is a better one."""
        self.session = session
        self.kept = start
        self.schedule = plain_values(schedule)
        self.best_db = start.history[-1]["psnr_db"] if start and start.history else -math.inf
        self.first = session.iteration
        self._noted = False
        self._floor_db: float | None = None

    @property
    def floor_db(self) -> float:
        """What a model must reach to be of any use, dB: the maps' mean colours, or `FAIR_DB`."""
        if self._floor_db is None:
            self._floor_db = min(mean_colour_psnr(self.session), FAIR_DB)
        return self._floor_db

    def judge(self, psnr_db: float, schedule: Schedule) -> None:
        """Take an evaluation of this moment, and keep the state where it is good; raises `Diverged` where it shows."""
        require_finite(self.session)
        lost_db = min(self.best_db, EXACT_DB) - psnr_db
        if lost_db >= COLLAPSE_DB or (lost_db >= LOST_DB and psnr_db < self.floor_db):
            raise Diverged(f"PSNR fell from {with_unit(self.best_db)} to {with_unit(psnr_db)}")
        self.best_db = max(self.best_db, psnr_db)
        if self._is_useless(psnr_db) and not self._noted:
            # No reason to end it: learning rates fall, and it may yet learn.
            self._noted = True
            say(WARNING, f"by iteration {self.session.iteration} {self._useless(psnr_db)}")
        if psnr_db >= self.floor_db:
            # The one before is let go first, so that there are never two.
            self.kept = None
            self.kept = self._copy(schedule)
            self.schedule = plain_values(schedule)

    def _copy(self, schedule: Schedule) -> Checkpoint:
        try:
            return session_checkpoint(self.session, schedule, to_host=False)
        except torch.OutOfMemoryError:
            return session_checkpoint(self.session, schedule)

    def go_back(self, schedule: Schedule, cause: Diverged) -> str:
        """Set session and schedule to the last good state and return a line that says so.

        Raises `UserError` where there is none.
        """
        session, at = self.session, self.session.iteration
        rate = f"lower --learning_rate ({session.config.train.learning_rate:g}) or --grid_learning_rate"
        if session.precision != "float32":
            rate += ", or use --precision float32"
        if self.kept is None:
            raise UserError(
                f"the training diverged by iteration {at}: {cause}, and no state before it was better than the maps' "
                f"mean colours; {rate}"
            ) from cause
        session.restore(self.kept)
        for name, value in self.schedule.items():
            setattr(schedule, name, value)
        return (
            f"by iteration {at}: {cause}; the state of iteration {session.iteration}, the last good one, is kept and "
            f"exported; {rate}"
        )

    def note_useless(self) -> None:
        """Say where the run ends far from the maps' mean colours, and add it to the run's notices."""
        history = self.session.history
        if history and self._is_useless(history[-1]["psnr_db"]):
            line = f"{self._useless(history[-1]['psnr_db'])}; this export is of no use"
            self.session.notices.append(line)
            say(WARNING, line)

    def _is_useless(self, psnr_db: float) -> bool:
        return psnr_db < self.floor_db - LOST_DB and self.session.iteration - self.first >= SETTLING_ITERATIONS

    def _useless(self, psnr_db: float) -> str:
        settings = self.session.config.train
        return (
            f"the training has learned nothing: PSNR is {with_unit(psnr_db)}, less than the maps' mean colours would give "
            f"({with_unit(self.floor_db)}); lower --learning_rate ({settings.learning_rate:g}) or train longer"
        )
