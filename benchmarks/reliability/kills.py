"""`kill -9` at many moments of short trainings, among them moments in the middle of a write."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.reliability.outputs import check_outputs
from benchmarks.reliability.parts import Options, progress
from benchmarks.reliability.trained import FLAGS, arguments, export_bytes, exports_below, write_material
from benchmarks.reliability.warm import Commands, kill_all
from utils.files import LEFTOVER

KILLS, SHORT_KILLS = 200, 4
"""Kills of the long and of the short version."""
BATCH_SHARE = 0.2
"""Share of them in batches, whose processes start as slowly as they do for everybody."""
KILLS_OF_A_RUN = 3
"""A run is killed this often, each time after it went on from what the kill before had left, and then ends."""
WRITES = {"a checkpoint": "model", "an export": "export", "settings or a record": "config|group|summary",
          "pictures or a page": "report|iteration_.*|thumbnail|summary", "any file": ".+"}  # fmt: skip
"""Moments within a write, and the stems of the temporary names that show it."""
TRIES = 2
"""Runs that may end before a moment within a write is met; the kill after them comes at any time."""
POLL_S = 0.0003
WAIT_S = 60.0


@dataclass
class Tally:
    """What has been seen of one kind of moment."""

    kills: Counter = field(default_factory=Counter)
    leftovers: int = 0
    from_checkpoint: int = 0
    anew: int = 0
    ended: int = 0
    files: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Case:
    """One run or batch, and how it is gone on with."""

    folder: Path
    start: Callable[[], tuple[str, list[str]]]
    """Gives the command, which depends on what is there."""
    finished: Callable[[], bool]
    reference: dict[str, dict[str, bytes]]
    """Files of the uninterrupted exports, by group (empty: the only one)."""


def run(options: Options) -> dict:
    """Kill runs and batches, check all files after each kill, go on, and compare the end with an uninterrupted run."""
    kills = SHORT_KILLS if options.short else KILLS
    commands, work = Commands(), options.work
    write_material(work / "material")
    for name in ("moss", "old/wall"):
        write_material(work / "materials" / name, 32, len(name))
    run_flags = arguments(**FLAGS, data_dir=work / "material")
    batch_flags = ["--groups_batching", *arguments(**{**FLAGS, "groups_max_workers": 2, "report": False})]
    batch_flags += arguments(groups_batch_dir=work / "materials", groups_resume=True)
    started = time.perf_counter()
    _reference_run(commands, "train", [*run_flags, "--save_dir", str(work / "whole")], work)
    run_s = time.perf_counter() - started
    started = time.perf_counter()
    _reference_run(commands, "train", [*batch_flags, "--groups_save_dir", str(work / "whole_batch")], work)
    batch_s = time.perf_counter() - started
    whole = {"": export_bytes(exports_below(work / "whole")[-1])}
    whole_batch = {name: export_bytes(exports_below(work / "whole_batch" / name)[-1]) for name in ("moss", "old/wall")}

    batches = round(kills * BATCH_SHARE)
    plans = [("run", number) for number in range(-(-(kills - batches) // KILLS_OF_A_RUN))]
    plans += [("batch", number) for number in range(-(-batches // KILLS_OF_A_RUN))]
    left = {"run": kills - batches, "batch": batches}
    tallies = {"run": Tally(), "batch": Tally()}

    def play(plan: tuple[str, int]) -> None:
        what, number = plan
        chance = random.Random(f"{options.seed} {what} {number}")
        folder = work / f"{what}_{number}"
        case = (_batch if what == "batch" else _run)(
            folder, batch_flags if what == "batch" else run_flags, whole_batch if what == "batch" else whole
        )
        count = min(KILLS_OF_A_RUN, left[what] - KILLS_OF_A_RUN * number)
        try:
            _play(case, commands, tallies[what], chance, count, batch_s if what == "batch" else run_s, number)
        except Exception as error:  # the other runs are not to be lost
            tallies[what].faults.append(f"{folder.name}: broke off: {type(error).__name__}: {error}")
        shutil.rmtree(folder, ignore_errors=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool, progress(len(plans), "runs and batches") as bar:
        for _ in pool.map(play, plans):
            bar.update()
    return {
        "rows": [_row(what, tally) for what, tally in tallies.items()],
        "faults": [fault for tally in tallies.values() for fault in tally.faults],
    }


def _reference_run(commands: Commands, program: str, flags: list[str], work: Path) -> None:
    code = commands.run(program, flags, work / "reference.log")
    if code != 0:
        raise RuntimeError(f"an uninterrupted run ends with {code}: {(work / 'reference.log').read_text()[-2000:]}")


def _newest_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """Return the run folder and the iteration of the checkpoint that is farthest, and of the newest run."""
    found = [
        (int(path.parent.name.removeprefix("train_result_")), path.parent.parent.parent)
        for path in folder.glob("*/models/train_result_*/model.pth")
    ]
    return (max(found)[1], max(found)[0]) if found else None


def _run(folder: Path, flags: list[str], reference: dict[str, dict[str, bytes]]) -> Case:
    folder.mkdir()

    def start() -> tuple[str, list[str]]:
        newest = _newest_checkpoint(folder)
        if not newest:
            return "train", [*flags, "--save_dir", str(folder)]
        if newest[1] == FLAGS["max_iter"]:
            return "export", ["--load_dir", str(newest[0]), "--report"]
        return "train", ["--load_dir", str(newest[0]), "--load_iter", "-1", "--save_dir", str(folder)]

    return Case(folder, start, lambda: False, reference)


def _batch(folder: Path, flags: list[str], reference: dict[str, dict[str, bytes]]) -> Case:
    folder.mkdir()
    return Case(folder, lambda: ("train", [*flags, "--groups_save_dir", str(folder)]), lambda: False, reference)


def _play(
    case: Case, commands: Commands, tally: Tally, chance: random.Random, kills: int, whole_s: float, number: int
) -> None:
    """Kill a run `kills` times, go on each time, and compare what it ends with."""
    log = case.folder.parent / f"{case.folder.name}.log"
    for kill in range(kills):
        tries = 0
        while True:
            program, flags = case.start()
            _count(tally, program, flags, case, kill)
            process = commands.start(program, flags, log)
            # A write that does not come is not waited for without end.
            wanted = (number + kill) % (len(WRITES) + 1) if tries < TRIES else 0
            moment = _kill_at_a_moment(process, case.folder, chance, whole_s, wanted)
            if moment:
                break
            if process.exitcode != 0:
                tally.faults.append(f"{case.folder.name}: exit code {process.exitcode}: {_last_lines(log)}")
                return
            # It had ended before its moment: the next one is a run from the start.
            tally.ended += 1
            tries += 1
            shutil.rmtree(case.folder)
            case.folder.mkdir()
        tally.kills[moment] += 1
        found = check_outputs(case.folder)
        tally.files += found.whole
        tally.leftovers += bool(found.leftovers)
        tally.faults += [f"{case.folder.name}, kill {kill + 1} ({moment}): {line}" for line in found.broken]
    program, flags = case.start()
    _count(tally, program, flags, case, kills)
    code = commands.run(program, flags, log)
    if code != 0:
        tally.faults.append(f"{case.folder.name}: does not go on, exit code {code}: {_last_lines(log)}")
        return
    found = check_outputs(case.folder)
    tally.faults += [f"{case.folder.name}, at its end: {line}" for line in found.broken]
    for group, files in case.reference.items():
        exports = exports_below(case.folder / group)
        ours = export_bytes(exports[-1]) if exports else {}
        differing = sorted(name for name in files if ours.get(name) != files[name])
        if differing:
            tally.faults.append(f"{case.folder.name} {group}: other bytes than the uninterrupted run: {differing}")


def _count(tally: Tally, program: str, flags: list[str], case: Case, kill: int) -> None:
    """Note from what a command goes on."""
    if kill == 0:
        return
    if any(case.folder.rglob("model.pth")):
        tally.from_checkpoint += 1
    else:
        tally.anew += 1


def _kill_at_a_moment(
    process: BaseProcess, folder: Path, chance: random.Random, whole_s: float, moment: int
) -> str | None:
    """Kill a command and all it has started at a time that is drawn, or while it writes; returns when that was.

    None where it ended before. `moment`: 0 for any time, else one of `WRITES`.
    """
    if moment == 0:
        process.join(chance.uniform(0, whole_s))
        return _killed(process, "any time")
    name, stem = list(WRITES.items())[moment - 1]
    wanted = re.compile(rf"\.(?:{stem})\.[a-z0-9_]{{8}}(?:\.\w+)?")
    sightings = chance.choice((1, 1, 2, 3))
    delay_s = chance.choice((0, 0, chance.uniform(0, 0.002), chance.uniform(0, 0.03)))
    seen: set[str] = set()
    end = time.monotonic() + WAIT_S
    while process.is_alive() and time.monotonic() < end:
        seen.update(path for path in _temporaries(folder) if wanted.fullmatch(Path(path).name))
        if len(seen) >= sightings:
            time.sleep(delay_s)
            return _killed(process, f"within {name}")
        time.sleep(POLL_S)
    return _killed(process, f"within {name}")


def _temporaries(folder: Path) -> Iterator[str]:
    """Yield the paths of what is being written anywhere below a folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if LEFTOVER.fullmatch(entry.name):
                    yield entry.path
                elif "." not in entry.name and entry.is_dir():
                    yield from _temporaries(Path(entry.path))
    except OSError:
        return


def _killed(process: BaseProcess, moment: str) -> str | None:
    if process.is_alive():
        kill_all(process)
    process.join()
    return moment if process.exitcode == -9 else None


def _last_lines(log: Path) -> str:
    return " | ".join(log.read_text("utf-8", "replace").strip().splitlines()[-3:])


def _row(what: str, tally: Tally) -> dict[str, object]:
    within = {f"within {name}": tally.kills[f"within {name}"] for name in WRITES}
    return {
        "what": what,
        "kills": sum(tally.kills.values()),
        "any time": tally.kills["any time"],
        **within,
        "with half-written files": tally.leftovers,
        "files read": tally.files,
        "went on": tally.from_checkpoint,
        "began anew": tally.anew,
        "faults": len(tally.faults),
    }
