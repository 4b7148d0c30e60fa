"""What the user asks of a material's maps before they are read: a normal convention, and opacity in a map's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from configs import TEXTURE_CHANNELS
from images.sources import MapSource, MaterialMaps, SourceImage
from utils.errors import UserError

OPACITY = "opacity"


def with_convention(maps: MaterialMaps, convention: str) -> tuple[MaterialMaps, bool]:
    """Return maps whose normals are of a convention (keep: as they are), and whether their green is to be turned over.

    To be asked last, when it is settled which convention the file has.
    """
    source = maps.sources.get("normal")
    if source is None:
        return maps, False
    name = source.file.name
    found = "directx" if source.directx else "opengl"
    if convention in ("keep", found):
        line = f"normal: {name} is a DirectX map (green points down), kept as it is"
        return replace(maps, notices=maps.notices + [line] * source.directx), False
    points, shown = ("down", "DirectX") if source.directx else ("up", "OpenGL")
    line = f"normal: {name} is a {shown} map (green points {points}), turned over to {convention}"
    sources = {**maps.sources, "normal": replace(source, directx=not source.directx)}
    return replace(maps, sources=sources, notices=[*maps.notices, line]), True


def with_opacity(maps: MaterialMaps, place: str, folder: Path) -> MaterialMaps:
    """Return maps with opacity in the place of a missing one (none: as they are): an opacity file, or diffuse's alpha.

    Raises `UserError` where the material has the map itself, or neither file.
    """
    if place == "none":
        return maps
    if place in maps.sources:
        raise UserError(
            f"--opacity_as {place} would take the place of {maps.sources[place]}; choose a map that {maps.name} lacks"
        )
    name = next((name for name, what in maps.others.items() if what.partition(" ")[0].lower() == OPACITY), None)
    if name is not None:
        source = MapSource(SourceImage(folder / name), reason="opacity file")
    elif "diffuse" in maps.sources:
        source = MapSource(maps.sources["diffuse"].file, 3, reason="alpha of diffuse")
    else:
        raise UserError(f"--opacity_as {place}: {maps.name} has no opacity file, and no diffuse map with alpha")
    sources = {**maps.sources, place: source}
    line = f"{place} holds opacity, read from {source}"
    return replace(
        maps,
        sources={name: sources[name] for name in TEXTURE_CHANNELS if name in sources},
        others={other: what for other, what in maps.others.items() if other != name},
        notices=[*maps.notices, line],
    )
