"""How far each group of a batch is, kept from what its engine tells."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from batch.jobs import SAVING, Job, Progress, What
from batch.record import read_record
from formats.figures import State as FigureState
from formats.figures import figure
from formats.manifest import read_manifest
from utils.errors import UserError

State = Literal["failed", "interrupted", "running", "waiting", "done", "kept"]
STATES: tuple[State, ...] = ("failed", "interrupted", "running", "waiting", "done", "kept")
"""In the order in which people want to see them."""


@dataclass
class Group:
    """One group, and what is known of it."""

    job: Job
    state: State = "waiting"
    where: str = ""
    """Which machine it runs on, empty for this one."""
    began_s: float = 0.0
    """When it began, by `time.perf_counter`."""
    taken_s: float = 0.0
    """How long it took in this batch, once it has ended."""
    progress: Progress | None = None
    cause: str = ""
    """Why it failed."""
    saved: str = ""
    """What was saved of it where it was interrupted."""
    notes: list[str] = field(default_factory=list)
    """What was said of it in this batch."""
    folder: Path | None = None
    """Folder of its exports, once there are some."""
    figures: dict[str, object] = field(default_factory=dict)
    """Quality and size of these, see `export_figures`."""
    notices: list[str] = field(default_factory=list)
    """What was skipped, resized or guessed of its images, once it has ended."""
    time_s: float = 0.0
    """How long it took, earlier batches included, once it has ended."""

    def elapsed_s(self) -> float:
        """Return how long it has been running, or took."""
        return time.perf_counter() - self.began_s if self.state == "running" else self.taken_s


def export_figures(manifest: Mapping) -> dict[str, object]:
    """Return what a summary says of an export; a PSNR that was not measured is left out, None is identical."""
    found: dict[str, object] = {
        "width": manifest["width"],
        "height": manifest["height"],
        "mips": manifest["mips"],
        "maps": [channel["name"] for channel in manifest["channels"] if channel["present"]],
        "bpp": manifest["bpp"],
        "bpp_mips": manifest["bpp_mips"],
        "size_bytes": sum(entry["bytes"] for entry in manifest["files"]),
        "ue5_plugin": manifest["ue5_plugin"],
    }
    psnr_db = {}
    for name in manifest.get("psnr", {}):
        value = figure(manifest, "psnr", name, 0)
        if value is FigureState.IDENTICAL or not isinstance(value, FigureState):
            psnr_db[name] = None if isinstance(value, FigureState) else value
    if "overall" in psnr_db:
        found["psnr_db"] = psnr_db.pop("overall")
        found["psnr_maps_db"] = psnr_db
    return found


class Board:
    """All groups of a batch."""

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self.groups = [Group(job) for job in jobs]
        self.workers = min(workers, len(jobs))
        self.ended: list[Group] = []
        """In the order in which they ended."""
        self.began_s = time.perf_counter()

    def take(self, index: int, what: What, value: object) -> Group:
        """Take what an engine tells (see `batch.jobs`) and return the group it is about."""
        group = self.groups[index]
        if what == "started":
            group.state, group.where, group.began_s, group.progress = "running", str(value), time.perf_counter(), None
        elif what == "progress" and isinstance(value, Progress):
            group.progress = value
        elif what == "note" and value == SAVING:
            # Of the moment alone.
            pass
        elif what in ("note", "retried"):
            group.notes.append(str(value) if what == "note" else f"begins again: {value}")
            if what == "retried":
                group.state = "waiting"
        elif what in ("done", "kept"):
            self._end(group, what)
            group.folder = Path(str(value))
            try:
                group.figures = export_figures(read_manifest(group.folder))
            except UserError as error:
                # Somebody has removed it within the second.
                group.state, group.cause = "failed", str(error)
        elif what == "failed":
            self._end(group, "failed")
            group.cause = str(value)
        elif what == "interrupted":
            self._end(group, "interrupted")
            group.saved = str(value)
        return group

    def _end(self, group: Group, state: State) -> None:
        group.taken_s = group.elapsed_s()
        group.state = state
        self.ended.append(group)
        group.time_s = group.taken_s
        with suppress(UserError):
            record = read_record(group.job.folder)
            # A group that failed before it wrote one may have that of an earlier batch, which had finished it.
            if record and (record.state == "done") == (state in ("done", "kept")):
                group.notices, group.time_s = record.notices, record.time_s

    def counts(self) -> dict[State, int]:
        """Return how many groups are in each state."""
        counted = Counter(group.state for group in self.groups)
        return {state: counted[state] for state in STATES}

    def of(self, *states: State) -> list[Group]:
        """Return the groups in any of some states, in the batch's order."""
        return [group for group in self.groups if group.state in states]

    def left_s(self) -> float | None:
        """Estimate how long the batch still takes, by the groups that it has trained; None before the first."""
        trained = [group.taken_s for group in self.ended if group.state == "done"]
        if not trained:
            return None
        mean_s = sum(trained) / len(trained)
        running = sum(max(mean_s - group.elapsed_s(), 0.0) for group in self.of("running"))
        return (running + mean_s * self.counts()["waiting"]) / self.workers
