"""TensorBoard output of a run, under the tags that users' dashboards know."""

from __future__ import annotations

import contextlib
import math
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataset import TextureSet
from formats.figures import State, figure
from reporting.console import say
from utils.errors import UserError, describe_os_error

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

MEAN_MIN_SIDE = 16
"""Mips with a smaller side do not count in the means over mips."""
SHOWN_MIPS = 4
"""Finest mips that get a picture."""
FLUSH_S = 10.0
"""Longest time that what was logged may stay unseen, seconds."""
MEAN_TEXT = (
    f"Mean over the mips with both sides at least {MEAN_MIN_SIDE} texels. The finest mip alone, which the "
    "console shows, is {tag}_LOD0/train."
)
MIP_TEXT = "Mip {mip}, {width} x {height} texels, over all present maps."


class RunLog:
    """Writes losses, figures per mip and their means, and pictures.

    Events are written by the caller's own thread, not by tensorboardX's, which waits for ever on a disk that is full.
    A disk that takes no more ends the log with one line, never the run.
    """

    def __init__(self, folder: Path, texture_set: TextureSet) -> None:
        # Here, because it is slow to import.
        from tensorboardX.event_file_writer import EventsWriter

        self.folder, self.texture_set = folder, texture_set
        self._described: set[str] = set()
        self._flushed_at = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: EventsWriter | None = EventsWriter(str(folder / "events"))
        except OSError as error:
            raise UserError(describe_os_error(error, folder)) from error

    def loss(self, iteration: int, loss: float) -> None:
        self._scalar("Loss/train", loss, iteration, "Mean squared error of the batch, in the files' coding.")
        if time.monotonic() - self._flushed_at > FLUSH_S:
            self._flush()

    def psnr(self, iteration: int, psnr_db: list[float]) -> None:
        """Log overall PSNR of every mip."""
        self._per_mip("PSNR", iteration, psnr_db)
        self._flush()

    def figures(self, iteration: int, manifest: Mapping) -> None:
        """Log SSIM and LPIPS of an export's mips, where its manifest has them."""
        for tag, metric, name, of_identical in (("SSIM", "ssim", "overall", 1.0), ("LPIPS", "lpips", "diffuse", 0.0)):
            values = [figure(manifest, metric, name, mip) for mip in range(manifest["mips"])]
            values = [of_identical if value is State.IDENTICAL else value for value in values]
            self._per_mip(tag, iteration, [None if isinstance(value, State) else value for value in values])
        self._flush()

    def pictures(self, iteration: int, sheets: Mapping[int, bytes]) -> None:
        """Log the contact sheets, PNG by mip, of the finest mips that are not tiny."""
        from tensorboardX.proto.summary_pb2 import Summary

        for mip, png in sheets.items():
            if mip < SHOWN_MIPS and min(self.texture_set.mips[mip].shape[:2]) >= MEAN_MIN_SIDE:
                width, height = struct.unpack(">II", png[16:24])
                image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
                self._write(Summary(value=[Summary.Value(tag=f"LOD{mip}/maps", image=image)]), iteration)
        self._flush()

    def close(self) -> None:
        """End the file; nothing is logged afterwards. It never waits and never raises for a full disk."""
        self._try(lambda writer: writer.close())
        self._writer = None

    def _per_mip(self, tag: str, iteration: int, values: Sequence[float | None]) -> None:
        large = []
        for mip, value in enumerate(values):
            if value is None or math.isinf(value):
                continue
            height, width = self.texture_set.mips[mip].shape[:2]
            self._scalar(
                f"{tag}_LOD{mip}/train", value, iteration, MIP_TEXT.format(mip=mip, width=width, height=height)
            )
            if min(height, width) >= MEAN_MIN_SIDE:
                large.append(value)
        if large:
            self._scalar(f"{tag}/train", sum(large) / len(large), iteration, MEAN_TEXT.format(tag=tag))

    def _scalar(self, tag: str, value: float, iteration: int, description: str) -> None:
        from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

        # TensorBoard keeps a tag's first description.
        metadata = None if tag in self._described else SummaryMetadata(summary_description=description)
        self._described.add(tag)
        self._write(Summary(value=[Summary.Value(tag=tag, simple_value=value, metadata=metadata)]), iteration)

    def _write(self, summary: object, iteration: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=iteration, summary=summary)
        self._try(lambda writer: writer.write_event(event))

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        self._try(lambda writer: writer.flush())

    def _try(self, action: Callable[[EventsWriter], object]) -> None:
        """Do something with the writer; where the disk takes no more, say so once and log nothing from then on."""
        if not self._writer:
            return
        try:
            action(self._writer)
        except OSError as error:
            say("note", f"TensorBoard gets nothing more of this run: {describe_os_error(error, self.folder)}")
            # What is still in the file's buffer is tried and lost here, or the end of the process would complain of it.
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None
