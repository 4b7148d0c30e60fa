"""The channels that images turn out to have, beside those that their names or a material.json promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from images.reading import DecodedImage
from images.sources import MapSource, MaterialMaps, SourceImage

_ALPHA = 3


def with_present_channels(
    maps: MaterialMaps, images: Mapping[SourceImage, DecodedImage], asked: str = ""
) -> MaterialMaps:
    """Leave out what a packed file without alpha was to have there, and take grey for the one colour channel of a file.

    A file that would give nothing else is left for `images.maps` to refuse, and so is the map of the name `asked`,
    which the user wants. Adds a sentence for each map.
    """
    sources, notices = dict(maps.sources), list(maps.notices)
    for name, source in maps.sources.items():
        others = [other for other, one in sources.items() if one.file == source.file and other != name]
        lacks_alpha = source.channel == _ALPHA and not images[source.file].has_alpha
        if lacks_alpha and others and not source.stated and name != asked:
            del sources[name]
            notices.append(
                f"{name}: {source.file.name} has no alpha, where its name says that {name} is; left out, and "
                f"{' and '.join(others)} kept"
            )
    for name, source in sources.items():
        if source.channel in (None, _ALPHA) or images[source.file].texels.shape[2] > 2:
            continue
        if source.stated or len(_colour_channels(sources, source.file)) == 1:
            sources[name] = replace(source, channel=None)
            notices.append(f"{name}: {source.file.name} is grey, taken for its channel {'RGBA'[source.channel or 0]}")
    return replace(maps, sources=sources, notices=notices)


def _colour_channels(sources: Mapping[str, MapSource], file: SourceImage) -> set[int]:
    """The channels R, G and B of a file that maps are read from."""
    found = {source.channel for source in sources.values() if source.file == file}
    return {channel for channel in found if channel is not None and channel != _ALPHA}
