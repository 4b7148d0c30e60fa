"""What is known of a material before it is trained: every map's file, channel, depth and range, and why it was taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich import box
from rich.markup import escape
from rich.table import Table

from configs import N_CHANNELS, TEXTURE_CHANNELS
from images.reading import ANY_SIZE, image_size
from images.sources import MapSource
from reporting.console import console
from reporting.metrics import channel_ranges
from reporting.pictures import map_image
from utils.errors import UserError, describe_os_error

if TYPE_CHECKING:
    from dataset import TextureSet

HEADER = ("map", "file", "channel", "size", "depth", "min .. max", "1 % .. 99 %", "why")
THUMBNAIL = 320
"""Least texels of the longer side of the mip that a map is shown by, so that it can be shrunk to a tile."""
_SAMPLED = 1 << 20
"""Values that percentiles are taken of, thinned out evenly where a map has more."""


@dataclass(frozen=True)
class MapFacts:
    """One map of a material, as it will be trained."""

    name: str
    file: str
    channel: str
    """Letters of RGBA, or grey."""
    size: str
    """Width and height of the file."""
    depth: str
    limits: str
    """Smallest and largest value, from 0 to 1, or in the units of the file where its values were scaled to that."""
    most: str
    """The values between which 98 % lie."""
    why: str
    guess: str
    """What was guessed, empty where nothing was."""
    picture: Image.Image
    """The map at low resolution."""

    @property
    def cells(self) -> list[str]:
        """A row of `HEADER`."""
        return [self.name, self.file, self.channel, self.size, self.depth, self.limits, self.most, self.why]


@dataclass
class Inspection:
    """A material: what will be trained of it, or why it cannot be read."""

    name: str
    summary: str = ""
    """What will be trained, in one line."""
    maps: list[MapFacts] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    """Files that are known to be something else, by name."""
    notices: list[str] = field(default_factory=list)
    error: str = ""
    """The one line that says why the material cannot be read."""

    @property
    def missing(self) -> list[str]:
        """The maps that the material does not have."""
        present = {facts.name for facts in self.maps}
        return [] if self.error else [name for name in TEXTURE_CHANNELS if name not in present]

    @property
    def lines(self) -> list[str]:
        """What stands below the table of maps."""
        lines = [f"missing: {', '.join(self.missing)}"] if self.missing else []
        lines += [f"known, not trained: {name} ({what})" for name, what in self.others.items()]
        # What is known is listed already.
        told = tuple(f"skipped {name}: known as" for name in self.others)
        return lines + [f"note: {line}" for line in self.notices if not (told and line.startswith(told))]


def _decimals(value: float) -> str:
    """Write a value of 8 or more bits: 1 of 255 steps is 0.004.

    >>> _decimals(1.0), _decimals(0.5019608), _decimals(-12.25)
    ('1', '0.502', '-12.25')
    """
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:.6g}"


def _span(low: float, high: float) -> str:
    first, last = _decimals(low), _decimals(high)
    return first if first == last else f"{first} .. {last}"


def _spans(textures: TextureSet, name: str) -> tuple[str, str]:
    """The limits of a map's values, and those of 98 % of them."""
    codes = textures.mips[0][..., channel_ranges()[name]]
    step = max(1, int(np.sqrt(codes.size / _SAMPLED)))
    values: np.ndarray = codes[::step, ::step] / np.float32(255)
    low, high = int(codes.min()) / 255, int(codes.max()) / 255
    if name in textures.fine:
        exact = textures.map_values(name, 0)
        low, high, values = float(exact.min()), float(exact.max()), exact[::step, ::step]
    ends = [low, *(float(end) for end in np.quantile(values, (0.01, 0.99))), high]
    if name in textures.ranges:
        bottom, top = textures.ranges[name]
        ends = [bottom + end * (top - bottom) for end in ends]
    return _span(ends[0], ends[3]), _span(ends[1], ends[2])


def _why(textures: TextureSet, source: MapSource, name: str) -> str:
    """Why a file is taken for a map, what was guessed, and what is done to its values."""
    # What the pixels say of it comes in the place of what the name left open.
    parts = [source.reason.removesuffix(", a guess") if source.guess else source.reason]
    if source.guess:
        parts.append(f"guess: {source.guess}")
    if name == "normal" and not source.guess:
        parts.append({"directx": "DirectX", "opengl": "OpenGL"}[textures.normal_convention])
    if source.inverted:
        parts.append("1 minus its values")
    if source.factor and not source.file.constant:
        factors = source.factor if len(set(source.factor)) > 1 else source.factor[:1]
        added = f", plus {source.offset:g}" if source.offset else ""
        parts.append("times " + ", ".join(f"{value:g}" for value in factors) + added)
    if name in textures.holds:
        parts.append(f"holds {textures.holds[name]}")
    return "; ".join(part for part in parts if part)


def _facts(textures: TextureSet, name: str) -> MapFacts:
    source = textures.sources[name]
    width, height = image_size(source.file, ANY_SIZE)
    limits, most = _spans(textures, name)
    by_name = "by its name" if source.reason.endswith("a guess") else ""
    depth = textures.depths[name]
    shown = next((mip for mip in reversed(textures.mips) if max(mip.shape[:2]) >= THUMBNAIL), textures.mips[0])
    return MapFacts(
        name,
        source.file.name,
        textures.channels.get(name, ""),
        f"{width} x {height}",
        "float" if depth == 32 else f"{depth} bit",
        limits,
        most,
        _why(textures, source, name),
        source.guess or by_name,
        map_image(shown[..., channel_ranges()[name]]),
    )


def describe(name: str, textures: TextureSet) -> Inspection:
    """Describe a material that was loaded."""
    summary = (
        f"{textures.width} x {textures.height}, {len(textures.mips)} mips, "
        f"{int(textures.channel_mask.sum())} of {N_CHANNELS} channels"
        + (f", {textures.normal_convention} normals" if textures.present["normal"] else "")
    )
    maps = [_facts(textures, one) for one in TEXTURE_CHANNELS if textures.present[one]]
    notices = list(textures.notices)
    if textures.mask:
        notices.append(f"mask: {'' if textures.mask.file else 'with --wrap False '}{textures.mask.line}")
    return Inspection(name, summary, maps, dict(textures.others), notices)


def inspect_material(name: str, data_dir: str, load: Callable[[str], TextureSet]) -> Inspection:
    """Load a material and describe it, or say in one line why it cannot be read."""
    try:
        return describe(name, load(data_dir))
    except UserError as error:
        return Inspection(name, error=str(error))
    except OSError as error:
        return Inspection(name, error=describe_os_error(error, error.filename or data_dir))


def print_inspection(found: Inspection) -> None:
    """Print the table of a material and what stands below it."""
    if found.error:
        # The error itself goes to the error stream.
        console.print(f"{found.name}: cannot be read", markup=False)
        return
    table = Table(title=escape(f"{found.name}: {found.summary}"), title_justify="left", box=box.SIMPLE_HEAD)
    for title in HEADER:
        table.add_column(title, overflow="fold")
    for facts in found.maps:
        table.add_row(*(escape(cell) for cell in facts.cells))
    console.print(table)
    for line in found.lines:
        console.print(f"  {line}", markup=False)
    console.print()


def default_sheet(folder: Path) -> Path:
    """Where the contact sheet of a folder goes when nobody says: in the current folder.

    That may be the material's own, or the one above: its name says preview, so that it is never taken for a map.
    """
    return Path(f"{folder.resolve().stem or 'material'}_preview.png")
