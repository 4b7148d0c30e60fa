"""Materials before they are trained, as a contact sheet (a row each, a column for each map) and as a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from configs import TEXTURE_CHANNELS
from reporting.console import console, say
from reporting.inspection import HEADER, Inspection, MapFacts, default_sheet, inspect_material, print_inspection
from reporting.pictures import BACKGROUND, GAP, INK, fitted, label_font, png_bytes
from reporting.report import Block, Picture, Section, Table, write_report
from utils.errors import UsageError, UserError
from utils.files import require_writable_folder, write_bytes

if TYPE_CHECKING:
    from dataset import TextureSet

TILE = 176
"""Pixels of a tile's side."""
NAMES = 250
"""Pixels of the column with the names of the materials."""
MATERIALS_A_SHEET = 40
"""More rows make a picture that few programs show; the rest goes on further sheets and pages."""
_LINE = 17
_HEAD = 26
_SOFT, _GUESS, _ERROR, _EMPTY = (165, 165, 170), (255, 176, 64), (255, 120, 110), (44, 44, 47)


def sheet_path(folder: Path, out: str | None) -> Path:
    """Where the contact sheet goes: `out`, a .png or a folder, or a name after the material in the current folder.

    Raises `UsageError` where `out` is another kind of file.
    """
    name = default_sheet(folder)
    if out is None:
        return name
    path = Path(out)
    if path.suffix.lower() == ".png" and not path.is_dir():
        return path
    if path.is_file() or path.suffix.lower() in (".jpg", ".jpeg", ".html", ".pdf", ".svg", ".webp"):
        raise UsageError(f"--out {out} is no .png and no folder; name the contact sheet such as {name}, or a folder")
    return path / name


def _shortened(text: str, width: int, ruler: ImageDraw.ImageDraw) -> str:
    """Leave out the middle of a text that is wider than `width` pixels; its end tells names of maps apart."""
    font = label_font()
    if ruler.textlength(text, font=font) <= width:
        return text
    for kept in range(len(text) - 1, 2, -1):
        short = f"{text[: kept // 3]}...{text[len(text) - (kept - kept // 3) :]}"
        if ruler.textlength(short, font=font) <= width:
            return short
    return text[:1]


def _wrapped(text: str, width: int, lines: int, ruler: ImageDraw.ImageDraw) -> list[str]:
    """Break a text into at most so many lines of `width` pixels; what is left over is cut off with dots."""
    font = label_font()
    out, words = [""], text.split(" ")
    while words:
        longer = f"{out[-1]} {words[0]}".strip()
        if ruler.textlength(longer, font=font) <= width:
            out[-1] = longer
            words.pop(0)
        elif not out[-1]:
            out[-1] = _shortened(words.pop(0), width, ruler)
        elif len(out) == lines:
            out[-1] = _shortened(f"{out[-1]} {words[0]}...", width, ruler)
            break
        else:
            out.append("")
    return out


def _captions(facts: MapFacts) -> list[tuple[str, tuple[int, int, int]]]:
    """The lines below a map's tile, with their colours."""
    lines = [(facts.file, INK), (f"{facts.channel}, {facts.depth}, {facts.size}", _SOFT), (facts.limits, _SOFT)]
    return [*lines, (f"guess: {facts.guess}", _GUESS)] if facts.guess else lines


def _tile(facts: MapFacts) -> Image.Image:
    picture = fitted(facts.picture, TILE)
    tile = Image.new("RGB", (TILE, TILE), _EMPTY)
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    if facts.guess:
        ImageDraw.Draw(tile).rectangle((0, 0, TILE - 1, TILE - 1), outline=_GUESS, width=3)
    return tile


def draw_row(found: Inspection) -> Image.Image:
    """Draw one material: its name and what will be trained, then a tile for each map with what is known of it."""
    font = label_font()
    width = NAMES + len(TEXTURE_CHANNELS) * (TILE + GAP) + GAP
    lines = max((len(_captions(facts)) for facts in found.maps), default=0)
    row = Image.new("RGB", (width, TILE + lines * _LINE + 2 * GAP if found.maps else 4 * _LINE), BACKGROUND)
    draw = ImageDraw.Draw(row)
    described = [(line, INK) for line in _wrapped(found.name, NAMES - 3 * GAP, 2, draw)]
    if found.error:
        described.append(("cannot be read", _ERROR))
        for index, text in enumerate(_wrapped(found.error, width - NAMES - 2 * GAP, 3, draw)):
            draw.text((NAMES, GAP + index * _LINE), text, fill=_ERROR, font=font)
    for part in found.summary.split(", ") if found.summary else []:
        described.append((part, _SOFT))
    for name, what in found.others.items():
        described += [(line, _SOFT) for line in _wrapped(f"not trained: {name} ({what})", NAMES - 3 * GAP, 2, draw)]
    room = (row.height - GAP) // _LINE
    if len(described) > room:
        described[room - 1 :] = [("...", _SOFT)]
    for index, (line, ink) in enumerate(described):
        draw.text((GAP, GAP + index * _LINE), line, fill=ink, font=font)
    by_name = {facts.name: facts for facts in found.maps}
    for index, column in enumerate(TEXTURE_CHANNELS):
        left = NAMES + index * (TILE + GAP)
        if column in by_name:
            row.paste(_tile(by_name[column]), (left, GAP))
            for below, (text, ink) in enumerate(_captions(by_name[column])):
                place = left, GAP + TILE + 2 + below * _LINE
                draw.text(place, _shortened(text, TILE, draw), fill=ink, font=font)
        elif found.maps:
            draw.text((left + GAP, GAP), "missing", fill=(95, 95, 100), font=font)
    return row


def draw_sheet(rows: Sequence[Image.Image]) -> Image.Image:
    """Put rows of materials below each other, under the names of the maps."""
    head = Image.new("RGB", (rows[0].width, _HEAD), (58, 58, 62))
    draw = ImageDraw.Draw(head)
    for index, column in enumerate(TEXTURE_CHANNELS):
        draw.text((NAMES + index * (TILE + GAP), 5), column, fill=INK, font=label_font())
    sheet = Image.new("RGB", (head.width, _HEAD + sum(row.height + GAP for row in rows)), BACKGROUND)
    sheet.paste(head, (0, 0))
    top = _HEAD
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
        ImageDraw.Draw(sheet).line((0, top - GAP // 2, sheet.width, top - GAP // 2), fill=(58, 58, 62))
    return sheet


def _section(found: Inspection, row: Image.Image) -> Section:
    blocks: list[Block] = [f"Cannot be read: {found.error}"] if found.error else [f"Will be trained: {found.summary}."]
    if found.maps:
        blocks += [Picture(row), Table(HEADER, [facts.cells for facts in found.maps], is_text=True)]
    return Section(found.name, blocks + [f"{line[0].upper()}{line[1:]}." for line in found.lines])


def _write(sheet: Path, number: int, page: str, shown: Sequence[tuple[Inspection, Image.Image]]) -> list[Path]:
    """Write a contact sheet, and the page of this title and the same materials where it has one; returns the files."""
    path = sheet if number == 1 else sheet.with_name(f"{sheet.stem}_{number}{sheet.suffix}")
    write_bytes(path, png_bytes(draw_sheet([row for _, row in shown])))
    if not page:
        return [path]
    html = path.with_suffix(".html")
    write_report(html, page, [_section(found, row) for found, row in shown])
    return [path, html]


def inspect_materials(
    inputs: Mapping[str, str],
    load: Callable[[str], TextureSet],
    notices: Sequence[str] = (),
    sheet: Path | None = None,
    title: str = "Maps",
) -> int:
    """Print the table of each material (name -> `data_dir`), and draw them where `sheet` is given; the exit code.

    Of several materials there is a page of that title beside the contact sheet.
    A material that cannot be read costs its one line and the exit code 1. Raises `UserError` where there is only one
    and it cannot be read.
    """
    if sheet:
        require_writable_folder(sheet.parent)
    failed, written = 0, []
    shown: list[tuple[Inspection, Image.Image]] = []
    for index, (name, data_dir) in enumerate(inputs.items(), 1):
        found = inspect_material(name, data_dir, load)
        if found.error and len(inputs) == 1:
            raise UserError(found.error)
        print_inspection(found)
        if found.error:
            failed += 1
            print(f"error: {name}: {found.error}", file=sys.stderr, flush=True)
        if sheet:
            shown.append((found, draw_row(found)))
            # Nothing but the drawn row is kept.
            for facts in found.maps:
                facts.picture.close()
            if len(shown) == MATERIALS_A_SHEET or index == len(inputs):
                number = -(-index // MATERIALS_A_SHEET)
                written += _write(sheet, number, title if len(inputs) > 1 else "", shown)
                shown.clear()
    for line in notices:
        console.print(f"note: {line}", markup=False)
    if len(inputs) > 1:
        say("materials", f"{len(inputs)}" + (f", {failed} cannot be read" if failed else ""))
    for path in written:
        say("contact sheet" if path.suffix == ".png" else "page", path)
    return 1 if failed else 0
