"""Part `disk`: a disk that fills up in the middle of each kind of write, by a small file system or by a limit."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.caged import problem_of_message
from benchmarks.reliability.disk_writes import WRITES, Write, write_samples
from benchmarks.reliability.outputs import check_outputs
from benchmarks.reliability.parts import Options, progress
from utils.errors import UserError, describe_os_error
from utils.text import one_line

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Room that is left, as a share of what the write takes."""
_DISK_BYTES = 64 << 20


def run(options: Options) -> dict:
    """Try every kind of write on a small file system and, where none can be mounted or in full, under a limit."""
    samples = options.work / "samples"
    with contextlib.redirect_stdout(io.StringIO()):
        write_samples(samples)
    rows, faults = [], []
    shares = SHARES[2:3] if options.short else SHARES
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(_small_disk(options.work / "disk"))
        hows = [*(["small disk"] if disk else []), *(["size limit"] if _can_limit() else [])]
        writes = [write for write in WRITES if not (options.short and write.slow)]
        bar = stack.enter_context(progress(len(writes), "writes"))
        for write in writes:
            bar.update()
            try:
                old, new = _versions(write, samples, options.work)
            except Exception:  # the other writes are not to be lost
                faults.append(f"{write.name}: not even with room: {_last_line()}")
                continue
            for how in hows:
                outcomes = [_try(write, how, share, samples, old, new, disk or options.work) for share in shares]
                found = [fault for _, problems in outcomes for fault in problems]
                faults += [f"{write.name}, {how}: {fault}" for fault in found]
                whats = [what for what, _ in outcomes]
                rows.append(
                    {
                        "write": write.name,
                        "disk": how,
                        "tries": len(whats),
                        "refused": whats.count("refused"),
                        "written": whats.count("written"),
                        "faults": len(found),
                    }
                )
    return {"mounted": bool(disk), "rows": rows, "faults": faults, "python": sys.version.split()[0]}


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a file system in memory, where this process may; None where it may not."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
        mounted = done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _can_limit() -> bool:
    try:
        import resource
    except ImportError:
        return False
    return hasattr(resource, "RLIMIT_FSIZE")


@contextlib.contextmanager
def _limited(largest_file: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size; Python ignores the signal, so that writing fails."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def _filled(disk: Path, left_bytes: int) -> Iterator[None]:
    """Fill a disk but for some bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        room = shutil.disk_usage(disk).free - left_bytes
        while room > 0:
            room -= file.write(bytes(min(room, 1 << 20)))
    try:
        yield
    finally:
        filler.unlink()


def contents(folder: Path) -> dict[str, str]:
    """Return the sums of all files below a folder by path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _versions(write: Write, samples: Path, work: Path) -> tuple[Path, Path]:
    """Write version 0, and version 1 over it, where there is room; returns both folders."""
    folders = work / "old", work / "new"
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    folders[0].mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        write.run(samples, folders[0], 0)
        shutil.copytree(folders[0], folders[1])
        write.run(samples, folders[1], 1)
    return folders


def _last_line() -> str:
    """Return an exception that is being handled in one line."""
    return traceback.format_exc().strip().splitlines()[-1][:300]


def _try(
    write: Write, how: str, share: float, samples: Path, old: Path, new: Path, place: Path
) -> tuple[str, list[str]]:
    """Write version 1 over version 0 with too little room; returns refused or written, and what is wrong."""
    target = place / "target"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(old, target)
    before, whole = contents(target), contents(new)
    sizes = [path.stat().st_size for path in new.rglob("*") if path.is_file()]
    # A file takes whole pages of a disk in memory.
    pages = [math.ceil(size / 4096) * 4096 for size in sizes]
    # Where each file is put in place by itself, an older one makes room for the next.
    needed = sum(pages) if write.together else max(pages)
    limit = _filled(place, int(share * needed)) if how == "small disk" else _limited(int(share * max(sizes)))
    message, spoken = None, io.StringIO()
    try:
        with contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(spoken), limit:
            write.run(samples, target, 1)
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = one_line(describe_os_error(error, error.filename or "?"))
    except Exception:
        return "refused", [f"with {share:.0%} of the room: {_last_line()}"]
    if write.goes_on:
        notes = [line for line in spoken.getvalue().splitlines() if line.startswith("note:")]
        message = notes[0] if notes else message
    return ("written" if message is None else "refused"), [
        f"with {share:.0%} of the room: {problem}" for problem in _problems(write, message, before, whole, target)
    ]


def _problems(
    write: Write, message: str | None, before: dict[str, str], whole: dict[str, str], target: Path
) -> Iterator[str]:
    """Yield what is not as it has to be after a write."""
    after = contents(target)
    if message is not None and problem_of_message(message):
        yield problem_of_message(message)
    if message is not None and not message.strip():
        yield "it says nothing"
    if write.grows:
        return
    if write.varies:
        found = check_outputs(target)
        yield from found.broken
        yield from (f"{path.name} is left" for path in found.leftovers)
        yield from (f"{name} is gone" for name in before.keys() - after.keys())
        return
    for name, digest in before.items():
        if name not in after:
            yield f"{name} is gone"
        elif after[name] != digest and (write.together or after[name] != whole.get(name)) and message is not None:
            yield f"{name} has changed"
    for name in after.keys() - before.keys():
        if name not in whole:
            if message is None or os.path.basename(name) not in message:
                yield f"{name} is left"
        elif after[name] != whole[name]:
            yield f"{name} is not whole"
        elif write.together and message is not None:
            yield f"{name} is new"
    for folder in target.rglob("*"):
        if folder.is_dir() and folder.name.startswith("."):
            yield f"the folder {folder.name} is left"
