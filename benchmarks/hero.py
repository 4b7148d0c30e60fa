"""The picture that the manual opens with: one material under light, from the original, from a neural texture and from
ASTC at no fewer bits.

    python -m benchmarks.hero [--out docs/images] [--material tiles] [--work DIR]

Material, training, encoding and renders are all made here. Below each sphere are two close-ups of it: where ASTC is
furthest from the original, and where the neural texture is. The figures lie beside the picture as JSON.
"""

from __future__ import annotations

import io
import shlex
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from baselines.cache import ResultCache
from baselines.codec import texture_count
from baselines.codecs import CODECS
from baselines.results import measure
from baselines.standing import block_rates
from benchmarks.materials import MATERIALS, make_materials
from benchmarks.toolkit import toolkit_setting, train_and_measure
from dataset import TextureSet, load_texture_set
from reporting.console import say
from reporting.metrics import flip, psnr_of_mse
from reporting.rendering import render_sphere
from reporting.shading import Light, Lighting, SoftBox
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import require_writable_folder, write_bytes, write_json

LIGHTING = Lighting(
    lights=(Light((-1.6, 1.5, 1.4), (10.5, 9.8, 8.6)), Light((2.0, -0.6, 0.5), (1.6, 2.2, 3.4))),
    soft_boxes=(
        SoftBox((-0.42, 0.60, 0.68), (4.2, 3.9, 3.5), 40.0),
        SoftBox((0.62, 0.42, 0.66), (1.8, 2.1, 2.6), 60.0),
        SoftBox((0.95, 0.05, 0.10), (1.6, 2.1, 3.0), 10.0),
        SoftBox((0.10, 0.98, -0.15), (2.2, 2.3, 2.6), 6.0),
    ),
    zenith=(0.30, 0.33, 0.39),
    nadir=(0.05, 0.045, 0.04),
)
DEFAULTS = {"material": "tiles", "size": 1024, "bpp": 5.0, "max_iter": 2500}
"""What the picture of the manual is made with."""
SPHERE = 448
"""Side of a sphere in the picture, pixels."""
ZOOM = 5
"""How much larger the close-ups show it; spheres are drawn at this size and averaged."""
AROUND = 1.0
"""Times that the texture goes around the sphere: half of it is seen, at about a texel a pixel."""
CENTRE = 0.62
"""Close-ups lie within this part of the radius, where the sphere is not seen at a slant."""
GAP, HEAD = 16, 64
BACKGROUND, INK, SOFT = (22, 22, 25), (240, 240, 240), (165, 165, 172)


@dataclass
class Column:
    """One of the spheres."""

    title: str
    render: np.ndarray
    """uint8 `[SPHERE * ZOOM, SPHERE * ZOOM, 3]`"""
    lines: tuple[str, ...] = ()


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = OneLineParser(prog="python -m benchmarks.hero", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", default="docs/images", metavar="FOLDER", help="where the picture and its figures go")
    parser.add_argument("--material", choices=sorted(MATERIALS), help="which one (default %(default)s)")
    parser.add_argument("--size", type=int, metavar="N", help="its side, texels (default %(default)s)")
    parser.add_argument("--bpp", type=float, metavar="BPP", help="bits per texel to aim at (default %(default)g)")
    parser.add_argument("--max_iter", type=int, metavar="N", help="iterations to train (default %(default)s)")
    parser.add_argument("--work", metavar="FOLDER", help="keep material, run and results there, and use what is there")
    parser.set_defaults(**DEFAULTS)
    options = parser.parse_args(argv)
    if options.max_iter <= 0 or options.bpp <= 0:
        raise UsageError("--max_iter and --bpp must be above 0; give iterations and bits per texel")
    return options


def blocks_at_no_fewer_bits(textures: TextureSet, bpp: float) -> str:
    """Return the ASTC block size with the lowest rate that is not below `bpp`; raises `UsageError` beyond 4x4."""
    rates = block_rates(textures.width, textures.height, texture_count(textures.present))
    fitting = [blocks for blocks, rate in rates if rate >= bpp]
    if not fitting:
        raise UsageError(f"ASTC has no {bpp:g} bits per texel; aim at {rates[-1][1]:g} at most with --bpp")
    return fitting[0]


def close_ups(reference: np.ndarray, others: Sequence[np.ndarray], side: int) -> list[tuple[int, int]]:
    """Return for each render, uint8 `[N, N, 3]`, the corner (row, column) of the window where it is worst.

    Windows are `side` pixels wide, lie around the sphere's middle and do not overlap those before.
    """
    size, step = len(reference), side // 4
    middle, found = size / 2, []
    starts = range(0, size - side + 1, step)
    for other in others:
        error = np.square(reference.astype(np.float32) - other).sum(2)
        total = np.pad(error.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
        candidates = [
            (total[y + side, x + side] - total[y, x + side] - total[y + side, x] + total[y, x], (y, x))
            for y in starts
            for x in starts
            if np.hypot(y + side / 2 - middle, x + side / 2 - middle) < CENTRE * middle
            and all(max(abs(y - row), abs(x - column)) >= side for row, column in found)
        ]
        found.append(max(candidates)[1])
    return found


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def draw(columns: Sequence[Column], corners: Sequence[tuple[int, int]], captions: Sequence[str]) -> Image.Image:
    """Lay out the spheres side by side with their close-ups below and the place of each marked on the first sphere."""
    side = (SPHERE - GAP) // 2
    foot = 30
    height = HEAD + SPHERE + GAP + side + foot
    sheet = Image.new("RGB", (GAP + len(columns) * (SPHERE + GAP), height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, column in enumerate(columns):
        left = GAP + number * (SPHERE + GAP)
        pen.text((left, 10), column.title, fill=INK, font=_font(21))
        for line, text in enumerate(column.lines):
            pen.text((left, 38 + 20 * line), text, fill=SOFT, font=_font(15))
        sphere = Image.fromarray(column.render).resize((SPHERE, SPHERE), Image.Resampling.BOX)
        sheet.paste(sphere, (left, HEAD))
        for index, (row, start) in enumerate(corners):
            crop = column.render[row : row + side, start : start + side]
            top, start_x = HEAD + SPHERE + GAP, left + index * (side + GAP)
            sheet.paste(Image.fromarray(crop), (start_x, top))
            pen.text((start_x, top + side + 6), f"{index + 1}  {captions[index]}", fill=SOFT, font=_font(13))
            corner = (left + start / ZOOM, HEAD + row / ZOOM)
            pen.rectangle((*corner, corner[0] + side / ZOOM, corner[1] + side / ZOOM), outline=INK, width=1)
            pen.text((corner[0] + 4, corner[1] + 2), str(index + 1), fill=INK, font=_font(13))
    return sheet


def _render(texels: np.ndarray, textures: TextureSet) -> np.ndarray:
    return render_sphere(
        texels,
        textures.present,
        textures.normal_convention,
        LIGHTING,
        side=SPHERE * ZOOM,
        around=AROUND,
        background=BACKGROUND,
    )


def render_figures(reference: np.ndarray, other: np.ndarray) -> dict[str, float | None]:
    """Return PSNR in dB on the sphere's pixels and FLIP on the picture, of renders at the size they are shown at."""
    ours, theirs = (
        np.asarray(Image.fromarray(render).resize((SPHERE, SPHERE), Image.Resampling.BOX))
        for render in (reference, other)
    )
    offset = (np.arange(SPHERE) + 0.5) / SPHERE * 2.04 - 1.02
    on_sphere = np.add.outer(offset**2, offset**2) < 1
    error = np.square(ours.astype(np.float64) - theirs)[on_sphere].mean()
    return {"psnr_db": psnr_of_mse(float(error)), "flip": flip(ours, theirs)}


def make_hero(options: Namespace, work: Path, command: str) -> Path:
    """Make the picture and its figures in `options.out`; returns the picture's path."""
    out = require_writable_folder(options.out)
    (data_dir,) = make_materials(work / "materials", options.size, [options.material])
    textures, cache = load_texture_set(data_dir), ResultCache(work / "cache")
    codec = CODECS["astc"]
    if codec.missing():
        raise UserError(codec.missing())

    # Iterations and not seconds, so that the figures do not depend on what else the machine does.
    flags: dict[str, object] = {
        "max_iter": options.max_iter,
        "early_stop": "False",
        "report": "False",
        "compare_astc": "False",
    }

    def train() -> tuple[dict, np.ndarray]:
        return train_and_measure(textures, data_dir, work / "run", "quality", options.bpp, None, flags)

    say("training", f"quality, {options.max_iter} iterations")
    neural, _ = cache.get(textures, "neural-quality", toolkit_setting(options.bpp, None, flags), train)
    setting = f"{blocks_at_no_fewer_bits(textures, neural['bpp'])}-thorough"

    def encode() -> tuple[dict, np.ndarray]:
        result = codec.run(textures, setting)
        return measure(textures, result, encoder=codec.encoder(setting)), result.decoded

    say("encoding", f"ASTC {setting}")
    astc, _ = cache.get(textures, codec.name, setting, encode, codec.encoder(setting))
    original = _render(textures.mips[0], textures)
    shown, columns = {}, [Column("Original", original, (f"{8 * int(textures.channel_mask.sum())} bits per texel",))]
    for title, record in (("Neural texture", neural), (f"ASTC {setting.replace('-', ', ')}", astc)):
        render = _render(cache.decoded(record), textures)
        figures = render_figures(original, render)
        shown[record["codec"]] = {**record, "render": figures}
        maps = f"maps {record['psnr']['overall']:.1f} dB, this render {figures['psnr_db']:.1f} dB"
        columns.append(Column(title, render, (f"{record['bpp']:.2f} bits per texel: {maps}",)))
    side = (SPHERE - GAP) // 2
    corners = close_ups(original, [columns[2].render, columns[1].render], side)
    sheet = draw(columns, corners, ("where ASTC is furthest off", "where the neural texture is"))
    # The folders of this machine say nothing to whoever repeats it.
    for record in shown.values():
        record.pop("command", None)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90, subsampling=0, optimize=True)
    picture = out / "hero.jpg"
    write_bytes(picture, buffer.getvalue())
    write_json(
        out / "hero.json",
        {"command": command, "material": options.material, "size": options.size, "records": list(shown.values())},
    )
    for column in columns[1:]:
        say(column.title, column.lines[0])
    return picture


def main(argv: Sequence[str] | None = None) -> int:
    """Make the picture."""
    options = _parse(argv)
    changed = (
        [f"--{name}", str(getattr(options, name))]
        for name in ("material", "size", "bpp", "max_iter")
        if getattr(options, name) != DEFAULTS[name]
    )
    command = shlex.join(["python", "-m", "benchmarks.hero", *(word for pair in changed for word in pair)])
    if options.work:
        picture = make_hero(options, require_writable_folder(options.work), command)
    else:
        with tempfile.TemporaryDirectory() as folder:
            picture = make_hero(options, Path(folder), command)
    say("picture", picture)
    return 0


if __name__ == "__main__":
    run_command(main)
