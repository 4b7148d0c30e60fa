"""Self-contained HTML reports: one file with every picture inside, that a double click opens."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from formats.figures import State
from reporting.pictures import png_bytes
from utils.files import write_bytes


@dataclass
class Table:
    """Rows of strings and numbers; numbers get two decimals, `None` a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    is_text: bool = False
    """Whether all columns hold words, which are aligned left."""


@dataclass
class Picture:
    """A Pillow image, PNG bytes or an SVG chart."""

    image: Image.Image | bytes
    caption: str = ""
    texels: bool = False
    """Whether single texels are to be seen, so that a browser must not smooth them."""


@dataclass
class Command:
    """A command line, shown as it is typed."""

    text: str


Block = str | Table | Picture | Command
"""A part of a section; plain strings are paragraphs."""


@dataclass
class Section:
    """A titled part of a report."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def format_cell(value: object) -> str:
    """Write a table cell: floats with two decimals, whole numbers with separators, `None` as a dash.

    >>> format_cell(3.14159), format_cell(1048576), format_cell(None), format_cell(float("inf"))
    ('3.14', '1,048,576', '-', 'identical')
    """
    if value is None:
        return "-"
    if isinstance(value, State):
        return value.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return State.IDENTICAL.value if math.isinf(value) else f"{value:.2f}"
    return str(value)


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, numbers aligned right."""
    lines = [list(table.header), ["---"] + ["---:"] * (len(table.header) - 1)]
    lines += [[format_cell(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _data_uri(picture: Picture) -> str:
    """Return a picture as a URI that holds all of it."""
    data = picture.image
    if isinstance(data, Image.Image):
        data = png_bytes(data)
    media_type = "png" if data.startswith(b"\x89PNG") else "svg+xml"
    return f"data:image/{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> None:
    """Write one HTML file with everything inside; raises `UserError` where it cannot be written."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(cell=format_cell, data_uri=_data_uri)
    page = environment.get_template("report.html.j2").render(title=title, sections=sections)
    write_bytes(path, page.encode("utf-8"))
