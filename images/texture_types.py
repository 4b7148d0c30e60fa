"""What a map is: its place in the canonical layout, how it is averaged, and the file names that mean it."""

from __future__ import annotations

from dataclasses import dataclass, field

from configs import TEXTURE_CHANNELS
from utils.errors import UserError


@dataclass(frozen=True)
class TextureType:
    """One map of a material, and the file names that mean it (all lower case)."""

    name: str
    """One of `configs.TEXTURE_CHANNELS`."""
    keywords: tuple[str, ...]
    """Up to four letters: whole words only; longer: found anywhere in the name."""
    suffixes: tuple[str, ...] = ()
    """Count only after a separator at the end of the name (a resolution such as 1k may follow)."""
    packed: dict[str, int] = field(default_factory=dict)
    """Keywords of files that hold several maps, and which of R, G, B (0, 1, 2) is this one."""
    directx_keywords: tuple[str, ...] = ()
    """Further keywords, of normal maps whose green points down."""
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
