"""How a grid lies in textures: its format, its files and where each feature is, for every way to store codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs import STORAGES
from formats.codes import CHANNEL_STORAGES, container_format, pack_codes, unpack_codes
from formats.dds import B4G4R4A4_UNORM, FORMATS, FORMATS_BY_NAME, HEADER_BYTES, TexelFormat
from formats.fields import (
    WORD_FORMATS,
    BitField,
    is_level_scale,
    lay_out_fields,
    level_scale,
    level_to_words,
    pack_fields,
    texture_words,
    unpack_fields,
    word_count,
    words_to_level,
)
from utils.errors import UsageError, UserError


@dataclass(frozen=True)
class GridStorage:
    """The textures of one grid."""

    format: TexelFormat
    n_files: int
    bits: tuple[int, ...]
    """Bits of each feature."""
    fields: tuple[BitField, ...] | None = None
    """Where each feature lies among the texel's words; None: a channel for each, four to a file."""

    @property
    def texel_bytes(self) -> int:
        """Bytes that one grid texel takes in all files together."""
        return self.n_files * self.format.texel_bytes

    def finest_bytes(self, side: int) -> int:
        """Return the bytes of the files as if they held a level of `side x side` texels alone, headers included."""
        return self.n_files * HEADER_BYTES + side * side * self.texel_bytes

    def pack(self, codes: np.ndarray) -> list[np.ndarray]:
        """Pack codes `[r, r, F]` into the level array of each file; raises `ValueError` where a code does not fit."""
        if self.fields is None:
            storage = "true_rate" if self.format.dxgi == B4G4R4A4_UNORM else "rgba8"
            return pack_codes(codes, self.bits[0], storage)
        words, held = pack_fields(codes, self.fields), WORD_FORMATS[self.format.name]
        as_bytes = self.format.name == "R8G8B8A8_UNORM"
        return [words_to_level(words[..., j * held : (j + 1) * held], as_bytes) for j in range(self.n_files)]

    def words(self, levels: Sequence[np.ndarray]) -> np.ndarray:
        """Return the words `[r, r, W]`, uint32, of a packed level from the level array of each file."""
        return np.concatenate([level_to_words(level) for level in levels], axis=-1)

    def unpack(self, levels: Sequence[np.ndarray]) -> np.ndarray:
        """Undo `pack`: int32 codes `[r, r, F]`; raises `ValueError` where a channel holds no code of so many bits."""
        if self.fields is None:
            return unpack_codes(levels, self.bits[0], len(self.bits), self.format.dxgi)
        return unpack_fields(self.words(levels), self.fields)

    def entry(self) -> dict[str, object]:
        """Return the keys of a manifest's grid that say how features are stored.

        Where features differ in bits, `quantize_bits`, `scale` and `offset` are those of the most bits, and
        `feature_bits` lists them all.
        """
        most = max(self.bits)
        scale, offset = level_scale(most)
        return {
            "format": self.format.name,
            "n_features": len(self.bits),
            "quantize_bits": most,
            "scale": scale,
            "offset": offset,
            **({"fields": [field._asdict() for field in self.fields]} if self.fields else {}),
            **({"feature_bits": list(self.bits)} if len(set(self.bits)) > 1 else {}),
        }


def grid_storage(bits: Sequence[int], storage: str) -> GridStorage:
    """Return how a grid of features with so many bits each is stored.

    Raises `UsageError` for an unknown storage, or where one with channels is asked for features that differ in bits.
    """
    bits = tuple(bits)
    if storage not in STORAGES:
        raise UsageError(f"storage {storage!r} is not one of {', '.join(STORAGES)}; choose one of these")
    if storage in CHANNEL_STORAGES:
        if len(set(bits)) > 1:
            raise UsageError(
                f"storage {storage!r} cannot hold features of {', '.join(map(str, sorted(set(bits))))} bits in one "
                "grid; choose packed or packed_rgba8"
            )
        return GridStorage(FORMATS[container_format(bits[0], storage)], -(-len(bits) // 4), bits)
    fields = tuple(lay_out_fields(bits))
    words = word_count(fields)
    if storage == "packed_rgba8":
        return GridStorage(FORMATS_BY_NAME["R8G8B8A8_UNORM"], words, bits, fields)
    held = texture_words(words)
    name = {1: "R32_UINT", 2: "R32G32_UINT", 4: "R32G32B32A32_UINT"}[held]
    return GridStorage(FORMATS_BY_NAME[name], -(-words // held), bits, fields)


def stored_as(entry: Mapping) -> GridStorage:
    """Return how a grid of a valid manifest, in a format that `FORMATS` knows, is stored."""
    fields = tuple(BitField(field["word"], field["shift"], field["bits"]) for field in entry.get("fields", ())) or None
    bits = tuple(field.bits for field in fields) if fields else (entry["quantize_bits"],) * entry["n_features"]
    return GridStorage(FORMATS_BY_NAME[entry["format"]], len(entry["files"]), bits, fields)


def require_level_values(entry: Mapping, name: object) -> None:
    """Raise `UserError` where a grid's `scale` and `offset` give other features than the levels of its bits.

    Bit fields have no scale and offset of their own, so only features at these levels can be packed.
    """
    if not is_level_scale(entry["quantize_bits"], entry["scale"], entry["offset"]):
        raise UserError(
            f"{name} has scale {entry['scale']:g} and offset {entry['offset']:g}, which bit fields cannot have; "
            "export the material again"
        )


def storage_name(manifest: Mapping) -> str | None:
    """Return the setting that a manifest's grids were stored with; None where several would store them alike.

    Features of other bits than 4 lie alike in rgba8 and true_rate.
    """
    for grid in manifest["grids"]:
        if grid.get("fields"):
            return "packed_rgba8" if grid["format"] == "R8G8B8A8_UNORM" else "packed"
        if grid["quantize_bits"] == 4:
            return "true_rate" if grid["format"] == FORMATS[B4G4R4A4_UNORM].name else "rgba8"
    return None
