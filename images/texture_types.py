"""What a map is: its place in the canonical layout, how it is averaged, and the file names that mean it.

Keywords are lower case. `_` stands where a name may have a separator, a change of case or nothing: `base_color` is
found in `base_color`, `base-color`, `BaseColor` and `basecolor`. `#` is any digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from configs import TEXTURE_CHANNELS
from utils.errors import UserError

UNUSED = "not used"
"""What a channel of a packed file is that holds nothing."""


@dataclass(frozen=True)
class TextureType:
    """One map of a material, and the file names that mean it."""

    name: str
    """One of `configs.TEXTURE_CHANNELS`."""
    keywords: tuple[str, ...]
    """Up to four letters: whole words only; longer: also joined to other words, as in wallroughness."""
    suffixes: tuple[str, ...] = ()
    """Count only after a separator at the end of the name (a resolution or version such as 1k or v2 may follow)."""
    lesser: tuple[str, ...] = ()
    """Further keywords, whose files are taken where none with a better name is; the earlier the better."""
    inverted: tuple[str, ...] = ()
    """Further keywords, of files that hold 1 minus the map; taken after all of the above."""
    guessed: tuple[str, ...] = ()
    """Those of the keywords whose files are often something else; a line calls them guesses."""
    directx_words: tuple[str, ...] = ()
    """Words elsewhere in the name that say that a normal map's green points down."""
    opengl_words: tuple[str, ...] = ()
    """Words elsewhere in the name that say that a normal map's green points up."""
    coding: str = "data"
    """srgb: colour, averaged in linear light; normal: a vector, renormalised; data: averaged as it is."""

    def __post_init__(self) -> None:
        if self.name not in TEXTURE_CHANNELS:
            raise UserError(
                f"get_texture_config() in dataset.py names a map {self.name!r}; the maps are "
                f"{', '.join(TEXTURE_CHANNELS)} (TEXTURE_CHANNELS in configs.py)"
            )

    @property
    def first(self) -> int:
        """First channel in the canonical layout."""
        names = list(TEXTURE_CHANNELS)
        return sum(TEXTURE_CHANNELS[name] for name in names[: names.index(self.name)])

    @property
    def count(self) -> int:
        """Number of channels."""
        return TEXTURE_CHANNELS[self.name]

    @property
    def channels(self) -> slice:
        """The map's place in the last axis of a texture set."""
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True)
class PackedMaps:
    """A file that holds several maps in its channels."""

    keywords: tuple[str, ...]
    channels: tuple[str, ...]
    """What R, G, B and A hold: the name of a type, a keyword of its `inverted`, anything else that is not trained, or
    `UNUSED`. A type that is named three times has the colour of the file."""


@dataclass(frozen=True)
class OtherMap:
    """A map that is known by name and not trained, so that it is not taken for another."""

    name: str
    keywords: tuple[str, ...]
    suffixes: tuple[str, ...] = ()
    qualifiers: tuple[str, ...] = ()
    """Words that make a parameter's name one of this map when they stand before it, such as sheen in sheenColor."""
    anywhere: bool = False
    """Its keywords decide wherever in the name they stand."""


class TextureTable(tuple[TextureType, ...]):
    """The types of map in canonical order, and what else is known of file names."""

    packed: tuple[PackedMaps, ...]
    others: tuple[OtherMap, ...]
    proper_names: tuple[str, ...]
    """Names with a keyword in them that say nothing of a map, such as a library's."""

    def __new__(
        cls,
        types: Iterable[TextureType],
        packed: Sequence[PackedMaps] = (),
        others: Sequence[OtherMap] = (),
        proper_names: Sequence[str] = (),
    ) -> TextureTable:
        table = super().__new__(cls, types)
        table.packed, table.others, table.proper_names = tuple(packed), tuple(others), tuple(proper_names)
        return table

    def __getnewargs__(self) -> tuple[object, ...]:
        return tuple(self), self.packed, self.others, self.proper_names
