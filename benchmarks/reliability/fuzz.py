"""Part `fuzz`: thousands of damaged files of every kind, and the hostile ones that damage alone would not make."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
from collections import Counter
from pathlib import Path

from benchmarks.reliability import batch_kinds, export_kinds, hostile, image_kinds, material_kinds, run_kinds, samples
from benchmarks.reliability.caged import GOOD, LIMIT_MIB, LIMIT_S, Kind, Outcome, run_cases
from benchmarks.reliability.parts import Options, progress

SHORT_CASES = 12
"""Cases of each kind that the tests run."""


def run(options: Options) -> dict:
    """Run all cases; a row for each kind of input, a fault for each case that ended as no case may."""
    kinds = [kind for kind in all_kinds() if not (options.short and kind.slow)]
    folder = options.work / "samples"
    write_all_samples(folder)
    cases = [
        (kind.name, number)
        for kind in kinds
        for number in range(-1 if kind.whole else 0, min(kind.share, SHORT_CASES) if options.short else kind.share)
    ]
    # To start a second one takes longer than the few cases of the short version.
    processes = 1 if options.short else max(1, min(2, os.cpu_count() or 1))
    with progress(len(cases), "cases") as bar:
        outcomes = run_cases(kinds, cases, folder, options.work, options.seed, processes, bar.update)
    row_of = {kind.name: kind.row or kind.name for kind in kinds}
    rows = [
        _row(name, [one for one in outcomes if row_of[one.kind] == name]) for name in dict.fromkeys(row_of.values())
    ]
    rows.append(_row("all", outcomes))
    return {
        "limits": {"time_s": LIMIT_S, "memory_mib": LIMIT_MIB, "max_pixels": image_kinds.MAX_PIXELS},
        "rows": rows,
        "faults": [*map(_fault, filter(_is_fault, outcomes))],
        "python": sys.version.split()[0],
    }


def all_kinds() -> list[Kind]:
    """Return every kind of input, in the order of the table."""
    of_files = [*image_kinds.KINDS, *material_kinds.KINDS, *export_kinds.KINDS, *run_kinds.KINDS, *batch_kinds.KINDS]
    return [*of_files, *hostile.KINDS]


def write_all_samples(folder: Path) -> None:
    """Write the undamaged files that cases are made from."""
    samples.write_samples(folder)
    export_kinds.write_exports(folder / "exports")
    with contextlib.redirect_stdout(io.StringIO()):
        run_kinds.write_run(folder / "run")


def _is_fault(outcome: Outcome) -> bool:
    return outcome.what not in GOOD or (outcome.number < 0 and outcome.what != "read")


def _fault(outcome: Outcome) -> str:
    return f"{outcome.kind} {outcome.number}: {outcome.what}, {outcome.detail}"


def _row(name: str, outcomes: list[Outcome]) -> dict[str, object]:
    damaged = [one for one in outcomes if one.number >= 0]
    counts = Counter(one.what for one in damaged)
    return {
        "input": name,
        "cases": len(damaged),
        "read": counts["read"],
        "refused": counts["refused"],
        "faults": sum(map(_is_fault, outcomes)),
        "median ms": round(1000 * statistics.median(one.time_s for one in damaged), 1) if damaged else None,
        "slowest s": round(max((one.time_s for one in damaged), default=0.0), 2),
        "peak MiB": round(max((one.peak_mib for one in damaged), default=0.0), 1),
    }
