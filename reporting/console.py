"""What a run says on the terminal: titled, aligned lines and one progress bar."""

from __future__ import annotations

import math
import sys

from rich.console import Console
from tqdm import tqdm

from formats.figures import State, show_db
from utils.text import one_line

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
LONGEST_LINE = 1 << 14
"""Characters of one line, which may list many names."""


def say(title: str, text: object) -> None:
    """Print one titled line, whatever the text's names of files hold."""
    console.print(f"{one_line(title) + ':':<22} {one_line(str(text), LONGEST_LINE)}", markup=False)


def training_bar(total: int, done: int, title: str = "training") -> tqdm:
    """Return the training bar: iteration, time left, loss and PSNR; it stays silent where there is no terminal."""
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit="it",
        dynamic_ncols=True,
        disable=None if console.is_terminal else True,
    )


def decibels(value: float | None) -> str:
    """Write a PSNR without its unit; `None` and infinity both say that the images are identical."""
    return show_db(math.inf if value is None else value)


def with_unit(value: float | State | None) -> str:
    """Write a PSNR with its unit, and a state in words alone.

    >>> with_unit(36.2091), with_unit(None), with_unit(State.NOT_STORED)
    ('36.21 dB', 'identical', 'not stored')
    """
    text = show_db(value) if isinstance(value, State) else decibels(value)
    return text if text in {state.value for state in State} else f"{text} dB"
