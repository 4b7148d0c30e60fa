"""What names left open is decided by pixels and called a guess; what they said is checked, and contradicted in words.

Which way green points and whether heights are upside down come from slopes (`images.relief`), swapped channels and
values out of the ordinary from the values of single maps (`images.value_checks`). Where the evidence is weak, the
sentence says so and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from images.maps import VECTOR_MEAN
from images.reading import DecodedImage
from images.relief import Agreement, Relief, read_relief
from images.samples import BLOCKS, thinned
from images.sources import MapSource, MaterialMaps, SourceImage
from images.two_channel import completed_normals
from images.value_checks import (
    GRAIN_LEAST,
    carries_grain,
    diffuse_notices,
    displacement_notices,
    is_mask,
    is_no_mask,
    is_normal_map,
    metallic_notices,
    normal_notices,
    shown_value,
    span,
    the_value,
)

SAMPLE_SIDE = 256
"""Most rows and columns of a map whose values are looked at."""
LEAST_SIDE = 4 * BLOCKS
"""Texels of the shorter side below which a map is too small to tell anything."""
_DEPTH = "depth"


@dataclass
class _Checked:
    """The maps of a material on the way through the checks."""

    maps: MaterialMaps
    sources: dict[str, MapSource]
    stored: dict[str, np.ndarray]
    """Of every map that is large enough: its values as the file has them, `[H, W, C]`."""
    notices: list[str]

    def sample(self, name: str) -> np.ndarray:
        return thinned(self.stored[name], SAMPLE_SIDE)

    def change(self, name: str, **values: object) -> None:
        self.sources[name] = replace(self.sources[name], **values)  # type: ignore[arg-type]


def checked_maps(maps: MaterialMaps, images: Mapping[SourceImage, DecodedImage], unchecked: str = "") -> MaterialMaps:
    """Check the maps of a material against the pixels of their images, but for one that holds something else.

    May change the normals' convention, heights that a guess calls depth or not, and which channels of a packed file
    are roughness and metallic; all of these alone where neither names nor the material say it. Adds sentences.
    """
    stored = {}
    for name, source in maps.sources.items():
        image = images[source.file].texels
        if name != unchecked and min(image.shape[:2]) >= LEAST_SIDE:
            stored[name] = stored_values(name, source, image)
    checked = _Checked(maps, dict(maps.sources), stored, list(maps.notices))
    _swap_channels(checked, images)
    is_normal = "normal" in stored and is_normal_map(checked.sample("normal"))
    relief = read_relief(stored["normal"] if is_normal else None, stored.get("displacement"), stored.get("occlusion"))
    if is_normal and not relief.is_flat:
        _check_convention(checked, relief)
    if "displacement" in stored:
        _check_heights(checked, relief)
    _check_values(checked)
    return replace(maps, sources=checked.sources, notices=checked.notices)


def stored_values(name: str, source: MapSource, image: np.ndarray) -> np.ndarray:
    """The values of one map as its file has them, before any inversion or factor: a view of an image `[H, W, 1 to 4]`.

    Normals have three components in [0, 1] or in integers. Of a colour file for a map of one channel it is the channel
    that varies most.
    """
    if name == "normal" and source.channel is None:
        if image.dtype == np.float32 and abs(float(thinned(image, SAMPLE_SIDE)[..., :2].mean())) < VECTOR_MEAN:
            image = image * np.float32(0.5) + np.float32(0.5)
        completed = completed_normals(image, "") if image.shape[2] > 1 else None
        return completed.texels if completed else np.broadcast_to(image[..., :3], (*image.shape[:2], 3))
    if source.channel is not None:
        channel = min(source.channel, image.shape[2] - 1)
        return image[..., channel : channel + 1]
    if name == "diffuse":
        return image[..., :3] if image.shape[2] > 2 else image[..., :1]
    channel = 0
    if image.shape[2] > 2:
        deviation = thinned(image, SAMPLE_SIDE)[..., :3].std((0, 1))
        # Green of a grey file, as it is read.
        channel = 1 if deviation[1] == deviation.max() else int(deviation.argmax())
    return image[..., channel : channel + 1]


def _shown(found: Agreement) -> str:
    return f"correlation {abs(found.correlation):.2f}"


def _check_convention(checked: _Checked, relief: Relief) -> None:
    """Decide which way green points where no name says it, and contradict a name that the pixels contradict."""
    source, found = checked.sources["normal"], relief.directx
    name = source.file.name
    if relief.by_height:
        height = checked.sources["displacement"].file.name
        why = f"only so do its slopes go with those of {height} ({_shown(found)})"
    else:
        why = f"only so are its slopes those of one surface ({_shown(found)})"
    convention, points = ("DirectX", "down") if found.sign > 0 else ("OpenGL", "up")
    if source.convention_named or source.stated:
        if found.sign and (found.sign > 0) != source.directx:
            said = "DirectX" if source.directx else "OpenGL"
            checked.notices.append(
                f"normal: {name} is said to be {said}, but its pixels say {convention}: {why}; kept as it is said"
            )
            checked.change("normal", guess=f"pixels say {convention}")
    elif found.sign:
        checked.change("normal", directx=found.sign > 0, guess=f"{convention} by its pixels")
        checked.notices.append(f"normal: {name} is taken for {convention} (green points {points}), a guess: {why}")
    else:
        checked.change("normal", guess="OpenGL, pixels unclear")
        checked.notices.append(
            f"normal: {name} is taken for OpenGL (green points up), a guess: its pixels do not tell; "
            "where green points down, add DX to its name, such as NormalDX"
        )


def _check_heights(checked: _Checked, relief: Relief) -> None:
    """Decide whether what a guess calls depth is depth, and contradict heights that are upside down."""
    source, found = checked.sources["displacement"], relief.upright
    name = source.file.name
    by = checked.sources["normal" if relief.by_normals else "occlusion"].file.name if found.sign else ""
    if source.stated or _DEPTH not in source.reason:
        if found.sign and (found.sign < 0) != source.inverted:
            checked.notices.append(
                f"displacement: {name} goes down where {by} says up ({_shown(found)}); kept as it is; "
                "where it holds depth, rename it to depth"
            )
            checked.change("displacement", guess="pixels say upside down")
        return
    # In place of the line that the name alone gave.
    named = f"displacement: {name} is taken for "
    checked.notices[:] = [
        line for line in checked.notices if not (line.startswith(named) and "guess by its name" in line)
    ]
    if found.sign < 0:
        checked.change("displacement", inverted=True, guess="depth, pixels agree")
        text = f"{named}depth and turned to height, a guess by its name, which {by} bears out ({_shown(found)})"
    elif found.sign > 0:
        checked.change("displacement", inverted=False, guess="height by the pixels")
        text = f"{named}height, a guess by {by} ({_shown(found)}), though its name says depth"
    else:
        taken = "depth and turned to height" if source.inverted else "height"
        checked.change("displacement", guess=f"{taken.partition(' ')[0]}, pixels unclear")
        text = f"{named}{taken}, a guess by its name: the pixels do not tell"
    checked.notices.append(text)


def _swap_channels(checked: _Checked, images: Mapping[SourceImage, DecodedImage]) -> None:
    """Exchange roughness and metallic of a packed file where each looks like the other; else say what looks wrong.

    Metal is 0 or 1 all but everywhere, and roughness hardly anywhere: both have to be the other way round.
    """
    source = checked.sources.get("roughness")
    if source is None or source.channel is None or "roughness" not in checked.stored:
        return
    metallic = checked.sources.get("metallic")
    rough, letters = checked.sample("roughness")[..., 0], "RGBA"
    if metallic and metallic.file == source.file and metallic.channel is not None:
        metal = checked.sample("metallic")[..., 0]
        if is_mask(rough) and is_no_mask(metal) and span(metal) >= GRAIN_LEAST:
            own, other = letters[source.channel], letters[metallic.channel]
            looks = f"{other} of {source.file.name} carries the grain and {own} is 0 or 1 as metal is"
            if source.stated or metallic.stated or source.inverted or metallic.inverted:
                checked.notices.append(
                    f"roughness: {looks}; kept as it is said, roughness in {own}, metallic in {other}"
                )
                return
            # The later line is the right one.
            packed = f"{source.file.name} is packed: "
            checked.notices[:] = [line for line in checked.notices if not line.startswith(packed)]
            checked.notices.append(
                f"roughness: {looks}: roughness is read from {other} and metallic from {own}, a guess by the pixels"
            )
            guess = "channel by the pixels"
            checked.change("roughness", channel=metallic.channel, guess=guess)
            checked.change("metallic", channel=source.channel, guess=guess)
            stored = checked.stored
            stored["roughness"], stored["metallic"] = stored["metallic"], stored["roughness"]
            return
    used = {one.channel for one in checked.sources.values() if one.file == source.file}
    image = thinned(images[source.file].texels, SAMPLE_SIDE)
    for channel in set(range(min(image.shape[2], 3))) - used:
        if carries_grain(image[..., channel], rough):
            checked.notices.append(
                f"roughness: {source} is all but constant, while {letters[channel]}, which is not used, is not; "
                "where that is the roughness, say so in material.json"
            )


def _check_values(checked: _Checked) -> None:
    """Add sentences on values out of the ordinary."""
    sentences = {
        "diffuse": diffuse_notices,
        "normal": normal_notices,
        "metallic": metallic_notices,
        "displacement": displacement_notices,
    }
    for name in checked.stored:
        source = checked.sources[name]
        values = checked.stored[name]
        value = the_value(values)
        if value is not None:
            if not source.stated:
                checked.notices.append(f"{name}: {source} has one value everywhere, {shown_value(value)}")
        elif name in sentences:
            checked.notices += sentences[name](checked.sample(name), str(source))
