"""The smallest rate that reaches a quality: a few short trials, each at the rate that those before it point to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from configs import Config
from dataset import TextureSet
from model.decoder.canonical import stored_precision
from reporting.console import decibels, say
from training.evaluate import evaluate_psnr
from training.loss import present_channels
from training.rates import decoder_bpp
from training.session import Session, open_session, planned_config
from utils.errors import UserError

TRIAL_SHARE = 0.15
"""Length of a trial, as a share of the run."""
LEAST_ITERATIONS = 100
"""Trials are at least this long, but no longer than the run."""
LONGER_GAIN = 1.5
"""What the whole run gains on a trial, in units of what a trial of three times the length gains on it."""
MOST_TRIALS = 6
DECIBELS_PER_DOUBLING = 3.5
"""First guess of what twice the bits are worth, dB; two trials replace it by what they found."""
MARGIN_DB = 0.15
"""Trials aim above the target by this, since short ones foretell the whole run to a few tenths."""
TOLERANCE_DB = 0.15
"""A trial this near to what it should reach ends the search."""
FIRST_BPP, MOST_BPP = 5.0, 48.0
LEAST_GRIDS_BPP, LEAST_GRIDS_SHARE = 1.0, 0.1
"""The search goes no lower than the decoder's share and this, bits per texel and as a share of the decoder's."""


def _trial_config(config: Config, target_bpp: float, share: float) -> Config:
    """Return the settings of a shorter run at a rate."""
    budget_s = config.train.time_budget
    train = dataclasses.replace(
        config.train,
        max_iter=min(config.train.max_iter, max(LEAST_ITERATIONS, round(config.train.max_iter * share))),
        time_budget=budget_s * share if budget_s else None,
    )
    return dataclasses.replace(_at_rate(config, target_bpp), train=train)


def _at_rate(config: Config, target_bpp: float) -> Config:
    """Return the settings with a rate in place of the quality."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, target_psnr=None, target_bpp=target_bpp))


def _psnr(session: Session) -> float:
    """Return the overall PSNR of the finest mip as an export would have it, dB."""
    with stored_precision(session.texture.decoder):
        return evaluate_psnr(session.texture, session.sampler, session.texture_set.present, True, 1)[0]["overall"]


def _nearly_exact(session: Session) -> float:
    """Return the PSNR of a finest mip in which a single byte is wrong by one, dB."""
    return 10 * math.log10(255**2 * session.layout.width * session.layout.height * len(session.channels))


def config_for_psnr(config: Config, texture_set: TextureSet, optimize: Callable[[Session], None]) -> Config:
    """Return settings whose grids have about the smallest rate that reaches `target_psnr`, which stays as asked.

    Trials are `TRIAL_SHARE` of the run long and so fall short of it by some decibels, the more the higher the rate; how
    many is found by a trial of three times that length, at the first rate and again near the one that would be taken.
    Raises `UserError` where even the highest rate does not reach the target.
    """
    asked = config.model.target_psnr
    if asked is None:
        raise ValueError("config has no target_psnr")
    target = asked + MARGIN_DB
    n_outputs = len(present_channels(texture_set.present))
    decoder = decoder_bpp(config.model, texture_set.width, texture_set.height, config.export.storage, n_outputs)
    least = decoder + max(LEAST_GRIDS_BPP, LEAST_GRIDS_SHARE * decoder)
    short: dict[float, float] = {}
    gains: dict[float, float] = {}

    def attempt(bpp: float, share: float) -> float:
        # Every trial from scratch: one that went on from another's decoder would look better than its rate is.
        settings = _trial_config(config, bpp, share)
        length = (
            f"{settings.train.time_budget:.1f} s"
            if settings.train.time_budget
            else f"{settings.train.max_iter} iterations"
        )
        say("trial", f"{bpp:.2f} bits per texel for {length}")
        session = open_session(planned_config(settings, texture_set), texture_set)
        optimize(session)
        # An exact trial is infinite, and trials are compared by their differences.
        return min(_psnr(session), max(_nearly_exact(session), target))

    def foretold() -> dict[float, float]:
        """PSNR of whole runs by rate, from the trials so far."""
        known = sorted(gains)
        return {
            bpp: psnr + float(np.interp(math.log(bpp), np.log(known), [gains[rate] for rate in known]))
            for bpp, psnr in short.items()
        }

    bpp = max(FIRST_BPP, 2 * decoder)
    for trial in range(MOST_TRIALS):
        short[bpp] = attempt(bpp, TRIAL_SHARE)
        near = gains and abs(foretold()[bpp] - target) <= 2 * TOLERANCE_DB
        if not gains or near and min(abs(math.log(bpp / rate)) for rate in gains) > math.log(1.2):
            gains[bpp] = max(0.0, LONGER_GAIN * (attempt(bpp, 3 * TRIAL_SHARE) - short[bpp]))
        results = foretold()
        say(f"search {trial + 1}", f"{bpp:.2f} bits per texel would reach about {decibels(results[bpp])} dB")
        if abs(results[bpp] - target) <= TOLERANCE_DB:
            break
        following = _next_rate(results, target, least)
        if following is None or abs(math.log(following / bpp)) < 0.02:
            break
        bpp = following
    reaching = [rate for rate, psnr in foretold().items() if psnr >= target - TOLERANCE_DB]
    if not reaching:
        best = max(foretold().values())
        raise UserError(
            f"target_psnr {asked:g} is out of reach: the best trial gives about "
            f"{best:.1f} dB; lower it, train longer, or use --preset quality"
        )
    say("search", f"trains at {min(reaching):.2f} bits per texel for {asked:g} dB")
    planned = planned_config(_at_rate(config, min(reaching)), texture_set)
    # What was asked for is recorded, and not what was found: the same settings ask the same of another material.
    return dataclasses.replace(planned, model=dataclasses.replace(planned.model, target_psnr=asked, target_bpp=None))


def _next_rate(results: dict[float, float], target: float, least: float) -> float | None:
    """Return the rate at which the trials so far, PSNR over the rate's logarithm, cross the target.

    None past the ends, and where the decoder leaves no room between them.
    """
    if least > MOST_BPP:
        return None
    rates = sorted(results, key=lambda rate: abs(results[rate] - target))[:2]
    slope = DECIBELS_PER_DOUBLING
    if len(rates) == 2:
        measured = (results[rates[0]] - results[rates[1]]) / math.log2(rates[0] / rates[1])
        slope = min(max(measured, 1.0), 12.0)
    rate = rates[0] * 2 ** ((target - results[rates[0]]) / slope)
    rate = min(max(rate, least), MOST_BPP)
    return None if rate in results else rate
