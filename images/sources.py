"""What one map of a material is read from, and what all of a material's maps are read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SourceImage:
    """An image on disk, or one that lies within another file, such as a .glb, and was taken out of it."""

    path: Path
    """The image, or the file that holds it."""
    data: bytes | None = field(default=None, repr=False)
    """The image's bytes, where it is not a file of its own."""
    name: str = ""
    """What messages call it; by default the file's name."""
    constant: bool = False
    """It is white and stands for a map that the material gives as a number, in `MapSource.factor`."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.name)

    @property
    def suffix(self) -> str:
        """Suffix of the image's file name in lower case; empty for one within another file."""
        return self.path.suffix.lower() if self.data is None else ""

    def content(self, n_bytes: int = -1) -> bytes:
        """The image's bytes, the first `n_bytes` of them where that is given; raises `OSError`."""
        if self.data is not None:
            return self.data if n_bytes < 0 else self.data[:n_bytes]
        with self.path.open("rb") as file:
            return file.read(n_bytes)


@dataclass(frozen=True)
class MapSource:
    """Where one map comes from, and what has to be done to its values."""

    file: SourceImage
    channel: int | None = None
    """0 to 3 for R, G, B and A of a packed file; None: the whole file."""
    directx: bool = False
    """Normals whose green points down."""
    convention_named: bool = False
    """The file's name, or what describes the material, says opengl or directx; else `directx` is a guess."""
    inverted: bool = False
    """The file holds 1 minus the map: glossiness for roughness, depth for height."""
    factor: tuple[float, ...] = ()
    """What the file's values are multiplied by, before they are inverted: one for each channel of the map, colour in
    linear light, normals as vectors; empty: nothing."""
    offset: float = 0.0
    """What is added to values after the factor, before they are inverted: an occlusion of half the strength is 0.5 +
    0.5 times the file's."""
    reason: str = ""
    """Why the file is taken for this map, such as: keyword nor_dx."""
    stated: bool = False
    """The material itself says all of this, in material.json or as glTF does: pixels contradict it, and change nothing."""
    guess: str = ""
    """What was decided by pixels, or could not be: shown beside the reason."""

    def __str__(self) -> str:
        return self.file.name if self.channel is None else f"channel {'RGBA'[self.channel]} of {self.file.name}"


@dataclass
class MaterialMaps:
    """The maps of one material as they were found, before any of them is read."""

    name: str
    sources: dict[str, MapSource]
    """By type, in canonical order; types that are missing are left out."""
    others: dict[str, str] = field(default_factory=dict)
    """Files that are known to be something else, by name: what they are, such as emissive or preview."""
    notices: list[str] = field(default_factory=list)
    """Sentences on what was skipped, chosen between or guessed."""
