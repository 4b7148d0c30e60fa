"""Libraries in C that write to the terminal on their own: what they say of a damaged file stands in one line instead."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_STDERR = 2


class _Silence:
    """How many are silent at present, and where the terminal is meanwhile."""

    count = 0
    saved = -1


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """While entered, by any thread, nothing that is written to the process's stderr is seen.

    Python's own errors are raised and not written, so that none is lost. Nothing happens where there is no stderr.
    """
    with _lock:
        if _Silence.count == 0:
            _Silence.saved = _redirected()
        _Silence.count += 1
    try:
        yield
    finally:
        with _lock:
            _Silence.count -= 1
            if _Silence.count == 0 and _Silence.saved >= 0:
                os.dup2(_Silence.saved, _STDERR)
                os.close(_Silence.saved)


def _redirected() -> int:
    """Send stderr to nowhere and return a copy of what it was, -1 where there is none or no more files may be open."""
    try:
        saved = os.dup(_STDERR)
    except OSError:
        return -1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:
        os.close(saved)
        return -1
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    return saved
