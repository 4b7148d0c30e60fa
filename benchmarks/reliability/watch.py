"""What a process touches while it reads a file that may not be trusted: files, programs, pickles, memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.mkfifo": ((0, None),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
"""Events of Python's audit that change files: which of their arguments are paths that change, and which the open folders
that these start from."""
_RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pickle.find_class")


@dataclass
class Watch:
    """Collects what was done that nothing which only reads may do."""

    allowed: Sequence[Path] = ()
    """Folders that may be written into."""
    found: list[tuple[str, str]] = field(default_factory=list)
    """What and a text: `outside` for a change of files elsewhere, `code` for programs, sockets and pickled classes."""
    is_on: bool = False

    def install(self) -> None:
        """Watch this process for as long as it lives; Python cannot take an audit hook away again."""
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def over(self, allowed: Sequence[Path]) -> Iterator[list[tuple[str, str]]]:
        """Watch while entered; yields the list that grows with what is found."""
        self.allowed, self.found, self.is_on = allowed, [], True
        try:
            yield self.found
        finally:
            self.is_on = False

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = flags & _WRITES if isinstance(flags, int) else bool(mode) and set(mode) & set("wax+")
            if writes and isinstance(path, (str, bytes, os.PathLike)):
                # Opening follows a link; renaming and removing do not.
                self._check("writes", os.path.realpath(path))
        elif event in _CHANGES:
            for place, folder in _CHANGES[event]:
                path = arguments[place]
                if isinstance(path, (str, bytes, os.PathLike)):
                    self._check(event, _from_folder(path, None if folder is None else arguments[folder]))
        elif event in _RUNS:
            self.found.append(("code", ascii(f"{event} {str(arguments)[:80]}")))

    def _check(self, action: str, path: str | bytes | os.PathLike) -> None:
        # What folders lead to counts, so their links are followed.
        whole = Path(os.path.abspath(os.fsdecode(path)))
        whole = whole.parent.resolve() / whole.name
        if str(whole) != os.devnull and not any(whole.is_relative_to(folder) for folder in self.allowed):
            self.found.append(("outside", f"{action} {ascii(str(whole))[:120]}"))


def _from_folder(path: str | bytes | os.PathLike, folder: object) -> str:
    """Return a path that starts from an open folder, as `shutil.rmtree` gives them, from the root."""
    name = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0:
        with contextlib.suppress(OSError):
            return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
    return name


def limit_address_space(more_bytes: int) -> None:
    """Let this process map at most `more_bytes` beyond what it has, where the system can limit it."""
    try:
        import resource
    except ImportError:
        return
    size = _status().get("VmSize")
    if size:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (size + more_bytes, resource.RLIM_INFINITY))


def begin_peak() -> int:
    """Forget the most memory that this process had so far, where the system allows it; returns what it has, bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status().get("VmRSS", 0)


def peak_bytes() -> int:
    """Return the most memory that this process had since `begin_peak`, or, on other systems, since it began."""
    peak = _status().get("VmHWM")
    if peak:
        return peak
    try:
        import resource
    except ImportError:
        return 0
    # Bytes on macOS, KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status() -> dict[str, int]:
    """Sizes of this process in bytes, as Linux names them; empty on other systems."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
