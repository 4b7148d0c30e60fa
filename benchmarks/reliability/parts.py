"""The parts of the reliability benchmark: what each is given, what it returns, and how that is printed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

PARTS = {
    "fuzz": "mutated images, exports, checkpoints, settings and material files; bombs, pickles, paths",
    "disk": "a disk that fills up in the middle of each kind of write",
    "kills": "kill -9 at random moments of runs and batches, many of them within a write",
    "batch": "many groups, some poisoned, by one command; two workers against one",
    "determinism": "the same bytes from fresh processes, resumed runs and batches, and on how many threads",
    "divergence": "trainings that diverge, and the state that they end with",
}
"""Names of the parts, each a module of this folder with a function `run`, and what each does."""


@dataclass(frozen=True)
class Options:
    """What every part is given."""

    work: Path
    """An empty folder that the part may fill; it is removed afterwards unless `--work` names it."""
    short: bool = False
    """The version that the tests run: as many kinds of cases, far fewer of each, some seconds."""
    seed: int = 0


def part(name: str) -> Callable[[Options], dict]:
    """Return a part's `run`.

    Its result is plain values for JSON: `rows`, the table that is printed, a list of dicts with the same keys, and
    `faults`, one sentence for everything that was not as it has to be.
    """
    return importlib.import_module(f"benchmarks.reliability.{name}").run


def progress(total: int, what: str) -> tqdm:
    """Return a bar of so many cases; it stays silent where there is no terminal."""
    return tqdm(total=total, desc=what, unit="", dynamic_ncols=True, leave=False, disable=None)


def table(rows: Sequence[dict[str, object]]) -> str:
    """Return rows with the same keys as an aligned table, numbers to the right.

    >>> print(table([{"input": "PNG", "cases": 1200}, {"input": "WebP", "cases": 80}]))
    input  cases
    PNG    1,200
    WebP      80
    """
    if not rows:
        return ""
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    right = [all(isinstance(row[name], (int, float)) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width) for text, width, to_right in zip(line, widths, right)
        ).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if isinstance(value, float) else str(value)
