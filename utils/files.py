"""Files that are complete or absent: written aside, then renamed."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path

from utils.errors import UserError, describe_os_error

LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}(?:\.\w+)?")
"""Names of files and folders that are being written aside, and of those that a process left when it was killed."""
MOST_JSON_BYTES = 1 << 26
"""Largest JSON file that is read; those of runs and exports have some thousand bytes."""
_PIECE_BYTES = 1 << 16


@contextmanager
def written_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on failure.

    Raises `UserError` (with cause and cure) where the disk is full or the folder is not writable.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    aside = Path(name)
    try:
        yield aside
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(aside, 0o666 & ~umask)
        os.replace(aside, path)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    finally:
        aside.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike, into: re.Pattern[str]) -> int:
    """Remove what killed processes have left half-written in a folder and in its sub-folders named like `into`, at any
    depth in these; returns how much it was.

    Only for folders that no other process writes into. What cannot be removed stays, as nothing reads it.
    """
    removed = 0
    for parent, folders, files in os.walk(os.fspath(folder)):
        for name in filter(LEFTOVER.fullmatch, [*folders, *files]):
            path = Path(parent, name)
            if name in folders:
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
            removed += not path.exists()
        at_top = Path(parent) == Path(folder)
        folders[:] = [name for name in folders if not LEFTOVER.fullmatch(name) and (not at_top or into.fullmatch(name))]
    return removed


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write `value` as indented UTF-8 JSON; infinities and NaN are an error, write `None` instead."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8"))


def read_json(path: str | os.PathLike) -> object:
    """Read a UTF-8 JSON file; raises `UserError` where it is missing or broken."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            # In pieces, since a read of this length would ask for as much memory whatever the file holds.
            pieces = iter(partial(file.read, _PIECE_BYTES), b"")
            data = b"".join(islice(pieces, MOST_JSON_BYTES // _PIECE_BYTES + 1))
        if len(data) > MOST_JSON_BYTES:
            raise UserError(f"{path} has more than {MOST_JSON_BYTES >> 20} MiB, too many for JSON; give another file")
        value = json.loads(data.decode("utf-8"))
        # JSON can escape half a character, which no file or page can hold.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    except RecursionError:
        raise UserError(f"{path} is not valid JSON (it is nested too deeply); restore it or write it anew") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); restore it or write it anew") from error


def require_writable_folder(path: str | os.PathLike) -> Path:
    """Create `path` if needed and prove that a file can be written there, before any work starts."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"0")
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    return path
