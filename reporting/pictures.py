"""Pictures of a decoded material beside its reference: contact sheets and zoomed crops."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reporting.metrics import present_ranges
from utils.threads import processors

BACKGROUND = (28, 28, 30)
INK = (235, 235, 235)
GAP = 6
LABEL_HEIGHT = 20
PNG_LEVEL = 3
"""zlib's level: higher ones take several times as long for files of the same size."""


def label_font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font of labels, which Pillow brings along."""
    try:
        return ImageFont.load_default(13)
    except TypeError:
        # Pillow before 10.1 has one size only.
        return ImageFont.load_default()


def map_image(texels: np.ndarray) -> Image.Image:
    """Return uint8 `[H, W, 1]` or `[H, W, 3]` as a grey or an RGB image."""
    return Image.fromarray(np.ascontiguousarray(texels if texels.shape[2] == 3 else texels[..., 0]))


def png_bytes(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def amplified_error(reference: np.ndarray, decoded: np.ndarray, factor: float) -> np.ndarray:
    """Return |reference - decoded| x factor as uint8 of the same shape, saturating at 255."""
    amplified = np.minimum(np.arange(256) * factor, 255).astype(np.uint8)
    # A difference of uint8 taken this way cannot wrap around.
    return amplified[np.maximum(reference, decoded) - np.minimum(reference, decoded)]


def fitted(image: Image.Image, max_side: int) -> Image.Image:
    """Shrink an image by area averaging, or enlarge a small one by whole steps, so that it fits `max_side`."""
    longest = max(image.size)
    if longest > max_side:
        width, height = (max(1, round(side * max_side / longest)) for side in image.size)
        return image.resize((width, height), Image.Resampling.BOX)
    # Small mips stay countable texels rather than a speck.
    scale = max(1, min(max_side, 96) // longest)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def image_grid(
    rows: Sequence[Sequence[Image.Image]], row_labels: Sequence[str], column_labels: Sequence[str]
) -> Image.Image:
    """Lay out images as a table with a label before each row and one, of one or more lines, above each column."""
    font = label_font()
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))

    def text_width(labels: Sequence[str]) -> int:
        return max(int(ruler.textlength(line, font=font)) + 1 for label in labels for line in label.split("\n"))

    left = text_width(row_labels) + 2 * GAP
    width = max(max(image.width for row in rows for image in row), text_width(column_labels))
    heights = [max(max(image.height for image in row), LABEL_HEIGHT) for row in rows]
    head = LABEL_HEIGHT * max(label.count("\n") + 1 for label in column_labels)
    sheet = Image.new(
        "RGB", (left + len(column_labels) * (width + GAP), head + sum(heights) + GAP * len(rows)), BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(column_labels):
        draw.text((left + column * (width + GAP), 3), label, fill=INK, font=font)
    top = head
    for row, label, height in zip(rows, row_labels, heights):
        draw.text((GAP, top), label, fill=INK, font=font)
        for column, image in enumerate(row):
            sheet.paste(image, (left + column * (width + GAP), top))
        top += height + GAP
    return sheet


def contact_sheet(
    reference: np.ndarray,
    decoded: np.ndarray,
    present: Mapping[str, bool],
    max_side: int = 256,
    error_factor: float = 8,
) -> Image.Image:
    """Draw one mip: a column per present map; rows reference, decoded and their error times `error_factor`.

    `reference` and `decoded` are uint8 `[H, W, 11]` in file coding; cells are at most `max_side` pixels a side.
    """
    rows: list[list[Image.Image]] = [[], [], []]
    ranges = present_ranges(present)
    for channels in ranges.values():
        ours, theirs = reference[..., channels], decoded[..., channels]
        for row, texels in zip(rows, (ours, theirs, amplified_error(ours, theirs, error_factor))):
            row.append(fitted(map_image(texels), max_side))
    return image_grid(rows, ["reference", "decoded", f"error x {error_factor:g}"], list(ranges))


def contact_sheets(
    references: Mapping[int, np.ndarray], decoded: Mapping[int, np.ndarray], present: Mapping[str, bool]
) -> dict[int, bytes]:
    """Draw a `contact_sheet` of every decoded mip, on threads; returns mip -> PNG file."""

    def draw(mip: int) -> bytes:
        return png_bytes(contact_sheet(references[mip], decoded[mip], present))

    with ThreadPoolExecutor(processors()) as pool:
        return dict(zip(decoded, pool.map(draw, decoded)))


def _window_means(values: np.ndarray, side_y: int, side_x: int, step: int) -> tuple[np.ndarray, list[int], list[int]]:
    """Return the mean of `[H, W]` over windows of `side_y x side_x` every `step` texels, and where they start."""
    total = np.pad(values.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), ((1, 0), (1, 0)))
    tops = sorted({*range(0, values.shape[0] - side_y + 1, step), values.shape[0] - side_y})
    lefts = sorted({*range(0, values.shape[1] - side_x + 1, step), values.shape[1] - side_x})
    y, x = np.array(tops)[:, None], np.array(lefts)[None, :]
    sums = total[y + side_y, x + side_x] - total[y, x + side_x] - total[y + side_y, x] + total[y, x]
    return sums / (side_y * side_x), tops, lefts


def pick_regions(
    reference: np.ndarray, decoded: np.ndarray, present: Mapping[str, bool], side: int = 64
) -> dict[str, tuple[slice, slice]]:
    """Return the region with the largest mean squared error and one with the median, as (rows, columns)."""
    error = np.zeros(reference.shape[:2], np.float32)
    ranges = present_ranges(present).values()
    for channel in (c for channels in ranges for c in range(channels.start, channels.stop)):
        error += np.square(reference[..., channel].astype(np.float32) - decoded[..., channel])
    rows, columns = reference.shape[:2]
    height, width = min(side, rows), min(side, columns)
    means, tops, lefts = _window_means(error, height, width, max(1, side // 2))
    order = np.argsort(means, axis=None, kind="stable")
    regions = {}
    for name, index in (("worst", order[-1]), ("typical", order[(len(order) - 1) // 2])):
        row, column = np.unravel_index(index, means.shape)
        regions[name] = (slice(tops[row], tops[row] + height), slice(lefts[column], lefts[column] + width))
    return regions


def zoom_crops(
    reference: np.ndarray,
    decoded: Mapping[str, np.ndarray],
    present: Mapping[str, bool],
    side: int = 64,
    scale: int = 3,
) -> dict[str, Image.Image]:
    """Draw the worst and a typical region of the first entry of `decoded`, for every codec side by side.

    `decoded` is label -> uint8 `[H, W, 11]`. Each picture has a row per present map and a column per codec after the
    reference, enlarged without smoothing. Returns name (`worst`, `typical`) -> picture.
    """
    pictures = {}
    ranges = present_ranges(present)
    for name, region in pick_regions(reference, next(iter(decoded.values())), present, side).items():
        rows = []
        for channels in ranges.values():
            crops = (map_image(texels[region][..., channels]) for texels in (reference, *decoded.values()))
            rows.append(
                [crop.resize((crop.width * scale, crop.height * scale), Image.Resampling.NEAREST) for crop in crops]
            )
        pictures[name] = image_grid(rows, list(ranges), ["reference", *decoded])
    return pictures


def map_images(texels: np.ndarray, present: dict[str, bool]) -> Iterator[tuple[str, Image.Image]]:
    """Yield each present map of uint8 [H, W, 11] with its name, as an 8-bit RGB or grey image."""
    for name, channels in present_ranges(present).items():
        yield name, map_image(texels[..., channels])
