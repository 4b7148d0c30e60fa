"""How learning rates and noise fall over a run, and how they go on where a run is resumed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs import TrainConfig

if TYPE_CHECKING:
    from training.checkpoint import Checkpoint

DECAY_POWER = 0.8
"""Power of the share of a run that is left, for the learning rates."""
RESTART_RATE = 0.3
"""Share of the full learning rates that a run begins with again where it goes on beyond its old end.

On the sample at 256 x 256, 1500 iterations resumed for a quarter more or as many again: of 0.01, 0.05, 0.1, 0.2, 0.3, 0.5
and 1 this is within 0.06 dB of the best with both presets (ue5: 28.65 dB become 28.88 and 29.32; quality: 33.74 become
33.93 in the quarter). With 0.01 the runs gain 0.15 dB at most; with 1 quality falls to 33.01 in the quarter.
"""


def rate_factor(fraction: float, final: float, shape: str = "power", first: float = 1.0) -> float:
    """Return the learning rates' factor at a fraction of the schedule: `first` at 0, `final` at 1.

    `shape`: power or cosine.

    >>> rate_factor(0.0, 0.01), round(rate_factor(1.0, 0.01), 4)
    (1.0, 0.01)
    """
    left = max(1 - fraction, 0.0)
    # A cosine is low for too long at the end: latents and decoder still have a way to go then.
    return final + (first - final) * (left**DECAY_POWER if shape == "power" else 0.5 * (1 - math.cos(math.pi * left)))


@dataclass
class Schedule:
    """From where to where learning rates and noise fall, and how far they are; as plain values in checkpoints."""

    unit: str
    """iterations, or seconds of training and evaluating."""
    start: float
    end: float
    position: float
    rate: float = 1.0
    """Factor of the learning rates at the start."""
    noise: float = 1.0
    """Factor of the noise at the start."""

    @property
    def fraction(self) -> float:
        """Share that is done; 1 and more at the end."""
        return (self.position - self.start) / (self.end - self.start)

    def rates(self, train: TrainConfig) -> float:
        """Return the learning rates' factor at this position."""
        return rate_factor(self.fraction, train.learning_rate_final, train.learning_rate_schedule, self.rate)

    def noise_fraction(self, anneal: float) -> float:
        """Return the fraction of a whole run at which the noise is as it is here; `anneal`: where it falls to zero."""
        return anneal * (1 - self.noise) + self.noise * self.fraction

    def noise_left(self, anneal: float) -> float:
        """Return the noise's factor at this position."""
        return max(0.0, 1 - self.noise_fraction(anneal) / anneal)


def new_schedule(train: TrainConfig, seconds: float | None = None) -> Schedule:
    """Return the schedule of a run from its start to `max_iter`, or over `seconds` where there is a time budget."""
    if train.time_budget:
        return Schedule("seconds", 0.0, train.time_budget if seconds is None else seconds, 0.0)
    return Schedule("iterations", 0, train.max_iter, 0)


def saved_schedule(saved: Checkpoint, train: TrainConfig) -> Schedule:
    """Return a checkpoint's schedule; `train` are the settings that it was saved with."""
    if saved.schedule:
        return Schedule(**saved.schedule)
    # Checkpoints from before there was one: the run went from 0 to its end.
    schedule = new_schedule(train)
    schedule.position = saved.training_time_s if train.time_budget else saved.iteration
    return schedule


def resumed_schedule(
    saved: Checkpoint, before: TrainConfig, now: TrainConfig, anneal: float, seconds: float
) -> tuple[Schedule, str | None]:
    """Return how a resumed run goes on, and a line that says so where its schedule is a new one.

    With the end that the checkpoint's run had it goes on as if it had never stopped. With another end it falls anew
    from where it stands, and from `RESTART_RATE` at least where the end lies beyond the old one: rates that have fallen
    to their final share would learn next to nothing in a longer run, and full ones would undo much of what was learned.
    Noise is never raised again.

    `before` and `now` are the settings of the checkpoint and of this run, `seconds` what a time budget leaves for it.
    """
    old = saved_schedule(saved, before)
    unit = "seconds" if now.time_budget else "iterations"
    same_end = before.time_budget == now.time_budget if now.time_budget else old.end == now.max_iter
    if unit == old.unit and same_end:
        return old, None
    position = old.position if unit == old.unit else saved.training_time_s if now.time_budget else saved.iteration
    new = Schedule(unit, position, position + seconds if now.time_budget else now.max_iter, position)
    standing, new.noise = old.rates(before), old.noise_left(anneal)
    beyond = unit != old.unit or new.end > old.end
    new.rate = max(standing, RESTART_RATE) if beyond else standing
    end = f"{new.end - new.start:.0f} s" if now.time_budget else f"iterations {new.start} to {new.end}"
    # The schedule's own end leaves out what the command's start and end took.
    old_end = f"{before.time_budget:g} s" if before.time_budget else f"{old.end:g} {old.unit}"
    noise = "without noise" if new.noise == 0 else f"noise from {new.noise:.2g}"
    return new, (
        f"a new one over {end}, since the run was to end at {old_end}: learning rates from "
        f"{new.rate:.2g} of their full size (it stood at {standing:.2g}), {noise}"
    )


def plain_values(schedule: Schedule) -> dict[str, object]:
    """Return what `Checkpoint.schedule` holds."""
    return dataclasses.asdict(schedule)
