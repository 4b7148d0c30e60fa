"""How much of a time budget is left for training, once start and end of the command have their share."""

from __future__ import annotations

import time

from baselines.standing import standing_estimate_s
from configs import compares_with_astc
from model.layout import ModelLayout
from training.session import Session

TIMED_TEXELS = 1 << 16
"""Texels of the mip, at most, whose decoding is timed."""
FIXED_S = 0.3
"""What an end takes on the smallest material, seconds."""
DECODES = 2.5
"""What last evaluation and export take, in units of the time in which the texture decodes all texels."""
PICTURES_S_PER_TEXEL = 2.4e-6
"""What metrics, pictures and the report take, seconds for each texel of all mips."""
RENDERS_S = 0.6
"""What renders of the material take beside its reference, and FLIP on them, at any size, seconds."""
LEAST_SHARE = 0.25
"""Share of a budget that is trained even where start and end leave less."""


def _texels(layout: ModelLayout) -> int:
    """Texels of all mips."""
    return sum(max(layout.width >> mip, 1) * max(layout.height >> mip, 1) for mip in range(layout.mips))


def decode_s_per_texel(session: Session) -> float:
    """Return in how many seconds the texture decodes a texel: one mip is decoded, twice, for what is done once."""
    layout = session.layout
    mip = next(
        (
            mip
            for mip in range(layout.mips)
            if max(layout.width >> mip, 1) * max(layout.height >> mip, 1) <= TIMED_TEXELS
        ),
        layout.mips - 1,
    )
    for _ in range(2):
        started = time.perf_counter()
        texels = session.texture.decode(mip)
        # Reading a value waits for the device.
        texels[0, 0, 0].item()
        decode_s = time.perf_counter() - started
    return decode_s / (texels.shape[0] * texels.shape[1])


def finish_estimate_s(session: Session, per_texel_s: float) -> float:
    """Return about how many seconds the last evaluation, export, pictures, report and ASTC beside it will take.

    `per_texel_s` is what `decode_s_per_texel` has measured.
    """
    texels = _texels(session.layout)
    end_s = FIXED_S + texels * DECODES * per_texel_s
    if session.config.export.report:
        end_s += RENDERS_S + texels * PICTURES_S_PER_TEXEL
    if compares_with_astc(session.config):
        end_s += standing_estimate_s(session.texture_set)
    return end_s


def training_seconds(budget_s: float, elapsed_s: float, finish_s: float) -> tuple[float, str | None]:
    """Return the seconds for training and evaluating, and a line where they are more than the budget has room for.

    `elapsed_s` is what the start took, `finish_s` what the end will take.

    >>> training_seconds(60, 3, 5), training_seconds(6, 3, 5)[0]
    ((52, None), 1.5)
    """
    left, least = budget_s - elapsed_s - finish_s, LEAST_SHARE * budget_s
    if left >= least:
        return left, None
    return least, (
        f"{budget_s:.3g} s are short for this material: the start took {elapsed_s:.1f} s, and the end takes "
        f"about {finish_s:.1f} s; training gets {least:.1f} s all the same"
    )
