"""The smallest rate that reaches a quality: a few short trials, each starting from what the last one learned."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import torch

from configs import Config
from console import decibels, say
from dataset import TextureSet
from evaluate import decode_mip, stored_precision
from metrics import material_psnr
from rates import decoder_bpp
from session import Session, open_session, planned_config
from utils.errors import UserError

TRIAL_SHARE = 0.15
"""Length of a trial, as a share of the run."""
MOST_TRIALS = 6
DECIBELS_PER_DOUBLING = 3.5
"""First guess of what twice the bits are worth, dB; two trials replace it by what they found."""
TOLERANCE_DB = 0.15
"""A trial this near to what it should reach ends the search."""
FIRST_BPP, MOST_BPP = 5.0, 48.0
LEAST_GRIDS_BPP = 1.0
"""The search goes no lower than the decoder's share and this, bits per texel."""


def _trial_config(config: Config, target_bpp: float, share: float) -> Config:
    """Return the settings of a shorter run at a rate."""
    trial = copy.deepcopy(config)
    trial.model.target_psnr, trial.model.target_bpp = 0.0, target_bpp
    trial.train.max_iter = max(100, round(trial.train.max_iter * share))
    trial.train.time_budget *= share
    return trial


def _psnr(session: Session) -> float:
    """Return the overall PSNR of the finest mip as an export would have it, dB."""
    with stored_precision(session.backend, session.layout.network_precision):
        decoded = decode_mip(session.backend, session.channels, 0, True)
    return material_psnr(session.texture_set.mips[0], decoded, session.texture_set.present)["overall"]


def _adopt_decoder(session: Session, network: torch.Tensor | None) -> None:
    """Start from another trial's decoder, where its layout is the same."""
    if network is not None and network.numel() == session.layout.n_weights:
        session.backend.load_network(network)


def config_for_psnr(config: Config, texture_set: TextureSet, optimize: Callable[[Session], None]) -> Config:
    """Return settings whose `target_bpp` is about the smallest that reaches `target_psnr`.

    Trials are `TRIAL_SHARE` of the run long and so fall short of it by some decibels; how many is found by letting
    one trial run three times as long. Raises `UserError` where even the highest rate does not reach the target.
    """
    target = config.model.target_psnr
    decoder = decoder_bpp(config.model, texture_set.width, texture_set.height, config.export.storage)
    least = decoder + LEAST_GRIDS_BPP
    bpp, network, results, gain = max(FIRST_BPP, 2 * decoder), None, {}, None
    for trial in range(MOST_TRIALS):
        def attempt(share: float) -> float:
            nonlocal network
            session = open_session(planned_config(_trial_config(config, bpp, share), texture_set), texture_set)
            _adopt_decoder(session, network)
            optimize(session)
            network = session.backend.network()
            return _psnr(session)
        reached = attempt(TRIAL_SHARE)
        if gain is None:
            # Longer training helps the more the harder the material; a second, longer run measures it.
            longer = attempt(3 * TRIAL_SHARE)
            gain = max(0.0, 1.5 * (longer - reached))
        results[bpp] = reached + gain
        say(f"search {trial + 1}", f"{bpp:.2f} bits per texel would reach about {decibels(results[bpp])} dB")
        if abs(results[bpp] - target) <= TOLERANCE_DB:
            break
        following = _next_rate(results, target, least)
        if following is None or abs(math.log(following / bpp)) < 0.02:
            break
        bpp = following
    reaching = [rate for rate, psnr in results.items() if psnr >= target - TOLERANCE_DB]
    if not reaching:
        best = max(results.values())
        raise UserError(f"target_psnr {target:g} is out of reach: the best trial gives about {best:.1f} dB; lower it, "
                        "train longer, or use --preset quality")
    chosen = dataclasses.replace(config.model, target_psnr=0.0, target_bpp=min(reaching))
    say("search", f"trains at {min(reaching):.2f} bits per texel for {target:g} dB")
    return dataclasses.replace(config, model=chosen)


def _next_rate(results: dict[float, float], target: float, least: float) -> float | None:
    """Return the rate at which the trials so far, PSNR over the rate's logarithm, cross the target; None past the ends."""
    rates = sorted(results, key=lambda rate: abs(results[rate] - target))[:2]
    slope = DECIBELS_PER_DOUBLING
    if len(rates) == 2:
        measured = (results[rates[0]] - results[rates[1]]) / math.log2(rates[0] / rates[1])
        slope = min(max(measured, 1.0), 12.0)
    rate = rates[0] * 2 ** ((target - results[rates[0]]) / slope)
    rate = min(max(rate, least), MOST_BPP)
    return None if rate in results else rate
