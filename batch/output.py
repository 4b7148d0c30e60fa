"""Where the output of a group goes: all of it into its log, and line by line to whoever wants to see it."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from utils.errors import UserError, describe_os_error


def append_to_log(path: Path, text: str) -> None:
    """Add text to a group's log if that can be done; a log that cannot be written stops nothing."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)


class _Lines(io.TextIOBase):
    """A text file that writes to a log, whole lines also to `tell`; a full disk loses lines and stops nothing."""

    def __init__(self, log: io.TextIOBase, tell: Callable[[str], None] | None) -> None:
        self._log, self._tell_line, self._rest = log, tell, ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._log.write(text)
            self._log.flush()
        if self._tell_line:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._tell_line(line)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._log.flush()


def _close(file: io.TextIOBase) -> None:
    """Close a file whose last bytes may find no room."""
    with contextlib.suppress(OSError):
        file.close()


@contextlib.contextmanager
def output_to_log(path: Path, tell_line: Callable[[str], None] | None) -> Iterator[None]:
    """While entered, all that this process prints goes to the end of a log, its lines also to `tell_line`.

    That holds for what libraries print past Python too, and a crash leaves its traceback there. Raises `UserError`
    where the log cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("a", encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    stdout, stderr, was_enabled = sys.stdout, sys.stderr, faulthandler.is_enabled()
    with contextlib.ExitStack() as stack:
        stack.callback(_close, log)
        with contextlib.suppress(OSError):
            log.write(f"=== {time.strftime('%Y-%m-%d %H:%M:%S')}, process {os.getpid()}\n")
            log.flush()
        for number in (1, 2):
            # A process may have been started without them.
            with contextlib.suppress(OSError):
                kept = os.dup(number)
                stack.callback(os.close, kept)
                os.dup2(log.fileno(), number)
                stack.callback(os.dup2, kept, number)
        sys.stdout = sys.stderr = _Lines(log, tell_line)
        faulthandler.enable(log)
        try:
            yield
        finally:
            faulthandler.disable()
            sys.stdout, sys.stderr = stdout, stderr
            if was_enabled:
                faulthandler.enable()
