"""Cases run in processes of their own, many in one, each with a time limit; a process that ends costs one case."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.reliability.watch import MIB, Watch, begin_peak, limit_address_space, peak_bytes
from utils.errors import UserError, describe_os_error
from utils.text import one_line

LIMIT_S = 5.0
"""Longest time that reading one case may take."""
LIMIT_MIB = 384
"""Most memory that reading one case may take on top of what the process has, at `MAX_PIXELS`."""
SAFETY_BYTES = 4 << 30
"""Address space beyond which a process gets no more, so that a fault does not take the machine down."""
START_S = 120.0
"""Time for a process to import the product."""
LOADED = ("dataset", "formats.repack", "images.inputs", "runtime.bake.bake", "training.exporting", "training.session")
"""What commands load before they read a file, which is no part of a case."""
GOOD = ("read", "refused")
"""How a case may end; everything else is a fault."""


@dataclass(frozen=True)
class Kind:
    """One kind of input: how a case of it is made, and what the product does with it."""

    name: str
    make: Callable[[Path, Path, random.Random], None]
    """Takes the folder of samples, the case's empty folder and the chance, and writes the case's files."""
    read: Callable[[Path, Path], None]
    """Takes the case's folder and a folder to write into; raises `UserError` where it refuses the case."""
    share: int
    """Cases of the full run."""
    whole: Callable[[Path, Path], None] | None = None
    """Writes an undamaged case, which has to be read; None where every case is one by itself."""
    row: str = ""
    """Where several kinds share a row of the table: its name."""
    refused: bool = False
    """Whether every case has to be refused."""
    slow: bool = False
    """Whether a case takes seconds to make."""


@dataclass(frozen=True)
class Outcome:
    """How one case ended."""

    kind: str
    number: int
    what: str
    """One of `GOOD`, or: traceback, hang, crash, memory, outside, code, printed, message, accepted."""
    detail: str
    time_s: float = 0.0
    peak_mib: float = 0.0
    """Memory on top of what the process had."""


def case_chance(kind: str, number: int, seed: int) -> random.Random:
    """Return where a case's chance begins: the same case for the same name, number and seed."""
    return random.Random(f"{kind} {number} {seed}")


def serve(pipe: Connection, kinds: Sequence[Kind], samples: Path, folder: Path, seed: int) -> None:
    """Run in a process of its own: take (kind, number), send `begun` and then the outcome, until None comes.

    Number -1 is the undamaged case.
    """
    sys.dont_write_bytecode = True
    by_name = {kind.name: kind for kind in kinds}
    folder.mkdir(parents=True, exist_ok=True)
    # What libraries in C print goes past sys.stdout.
    printed = (folder / "printed").open("w+b")
    for stream in (1, 2):
        os.dup2(printed.fileno(), stream)
    for module in LOADED:
        importlib.import_module(module)
    watch = Watch()
    watch.install()
    limit_address_space(SAFETY_BYTES)
    pipe.send("ready")
    warm: set[str] = set()
    while (case := pipe.recv()) is not None:
        name, number = case
        place, out = folder / "case", folder / "out"
        for path in (place, out):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        tempfile.tempdir = str(out)
        kind = by_name[name]
        try:
            _prepare(kind, number, samples, place, out, seed, warm)
        except BaseException:
            pipe.send(traceback.format_exc())
            raise
        printed.seek(0)
        printed.truncate()
        pipe.send("begun")
        pipe.send(_run(kind, number, place, out, watch, printed))


def _prepare(kind: Kind, number: int, samples: Path, place: Path, out: Path, seed: int, warm: set[str]) -> None:
    """Write a case's files; what a kind loads once is loaded first, by its whole case, as it is no part of a case."""
    if kind.whole and (number < 0 or kind.name not in warm):
        kind.whole(samples, place)
        if kind.name not in warm:
            with contextlib.redirect_stdout(io.StringIO()):
                kind.read(place, out)
            warm.add(kind.name)
            for path in [out, *([place] if number >= 0 else [])]:
                shutil.rmtree(path)
                path.mkdir()
    if number >= 0:
        kind.make(samples, place, case_chance(kind.name, number, seed))


def _run(kind: Kind, number: int, place: Path, out: Path, watch: Watch, printed: io.BufferedRandom) -> Outcome:
    words, spoken = io.StringIO(), io.StringIO()
    before, started = begin_peak(), time.perf_counter()
    what, detail = "read", ""
    try:
        with watch.over((out,)) as found, contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(words):
            kind.read(place, out)
    except UserError as error:
        what, detail = "refused", str(error)
    except OSError as error:
        # Commands end in one line on these too.
        named = error.errno is not None
        what, detail = (
            ("refused", one_line(describe_os_error(error, error.filename))) if named else ("traceback", _last_lines())
        )
    except MemoryError:
        what, detail = "memory", f"beyond the safety limit of {SAFETY_BYTES // MIB} MiB: {_last_lines()}"
    except (Exception, SystemExit):
        what, detail = "traceback", _last_lines()
    elapsed, peak = time.perf_counter() - started, max(peak_bytes() - before, 0) / MIB
    printed.seek(0)
    words.write(printed.read().decode("utf-8", "replace"))
    if found:
        what, detail = found[0][0], "; ".join(text for _, text in found[:3])
    elif what in GOOD and peak > LIMIT_MIB:
        what, detail = "memory", f"{peak:.0f} MiB, {LIMIT_MIB} allowed ({what}: {detail[:100]})"
    elif what == "refused" and problem_of_message(detail):
        what, detail = "message", f"{problem_of_message(detail)}: {detail[:200]!r}"
    elif what == "read" and kind.refused:
        what, detail = "accepted", "it has to be refused"
    elif what in GOOD and words.getvalue().strip():
        what, detail = "printed", ascii(words.getvalue().strip()[:200])
    return Outcome(kind.name, number, what, detail, elapsed, peak)


def problem_of_message(message: str) -> str:
    """Return what keeps a message from being one clear line; empty where nothing does."""
    if not message.isprintable():
        return "a message that cannot be printed in one line"
    if len(message) > 700:
        return f"a message of {len(message)} characters"
    return ""


def _last_lines() -> str:
    """Return an exception that is being handled, and where it came from, in one line."""
    kind, error, trace = sys.exc_info()
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(trace)]
    return ascii(f"{kind.__name__ if kind else ''}: {str(error)[:200]} at {' < '.join(places[::-1][:6])}")[1:-1]


class Cage:
    """One process that cases are given to, replaced whenever it hangs or ends."""

    def __init__(self, kinds: Sequence[Kind], samples: Path, folder: Path, seed: int) -> None:
        self._arguments = kinds, samples, folder, seed
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def run(self, kind: str, number: int) -> Outcome:
        """Run one case; a hang or a crash counts where a second process confirms it, since the machine may be busy."""
        outcome = self._once(kind, number)
        return self._once(kind, number) if outcome.what in ("hang", "crash") else outcome

    def _once(self, kind: str, number: int) -> Outcome:
        pipe = self._ready()
        try:
            pipe.send((kind, number))
            if not pipe.poll(START_S):
                raise RuntimeError(f"case {number} of {kind} could not be made within {START_S:g} s")
            said = pipe.recv()
            if said != "begun":
                raise RuntimeError(f"case {number} of {kind} could not be made: {said}")
            started = time.perf_counter()
            if pipe.poll(LIMIT_S):
                return pipe.recv()
        except (EOFError, OSError):
            code = self._end()
            return Outcome(kind, number, "crash", f"the process ended with code {code}")
        self._end()
        return Outcome(kind, number, "hang", f"nothing after {LIMIT_S:g} s", time.perf_counter() - started)

    def _ready(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
            process.start()
            theirs.close()
            self._process, self._pipe = process, ours
            if not self._pipe.poll(START_S):
                raise RuntimeError(f"no process began within {START_S:g} s")
            self._pipe.recv()
        return self._pipe

    def _end(self) -> int | None:
        assert self._process and self._pipe
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._pipe = None
        return self._process.exitcode

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send(None)
            assert self._process
            self._process.join(2)
            self._end()


def run_cases(
    kinds: Sequence[Kind],
    cases: Sequence[tuple[str, int]],
    samples: Path,
    work: Path,
    seed: int,
    processes: int,
    done_one: Callable[[], object] = lambda: None,
) -> list[Outcome]:
    """Run cases (kind, number) in several processes, in the order given as far as these share it."""
    waiting, done, lock = list(cases)[::-1], [], threading.Lock()
    failures: list[BaseException] = []

    def work_off(number: int) -> None:
        cage = Cage(kinds, samples, work / f"cage_{number}", seed)
        try:
            while not failures:
                with lock:
                    if not waiting:
                        return
                    case = waiting.pop()
                outcome = cage.run(*case)
                with lock:
                    done.append(outcome)
                    done_one()
        except BaseException as error:
            failures.append(error)
        finally:
            cage.close()

    threads = [threading.Thread(target=work_off, args=(number,)) for number in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sorted(done, key=lambda outcome: (outcome.kind, outcome.number))
