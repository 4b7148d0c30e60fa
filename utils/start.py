"""Signals while a command is still importing: commands import this before anything else, for what it does."""

from __future__ import annotations

import os
import signal
from types import FrameType


def _leave(number: int, _frame: FrameType | None) -> None:
    """End the process in one line, as nothing has been done yet; `utils.interrupt` takes over where a command begins."""
    os.write(2, b"interrupted\n" if number == signal.SIGINT else b"terminated\n")
    os._exit(128 + number)


for _name in ("SIGINT", "SIGTERM", "SIGBREAK"):
    _number = getattr(signal, _name, None)
    # A shell has background jobs ignore Ctrl-C.
    if _number is not None and signal.getsignal(_number) not in (None, signal.SIG_IGN):
        signal.signal(_number, _leave)
