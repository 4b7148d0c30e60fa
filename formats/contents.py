"""The grids of an export, read and checked against their manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formats.curves import along_curve
from formats.dds import DdsHeader, read_dds, unpack_channels
from formats.fields import field_values, unpack_field
from formats.storage import GridStorage, stored_as
from utils.errors import UserError


@dataclass(frozen=True)
class StoredGrid:
    """The stored levels of one grid, coarsest first."""

    path: Path
    """Its first file."""
    entry: dict
    """Its part of the manifest."""
    storage: GridStorage
    levels: list[list[np.ndarray]]
    """Per level, the level arrays of its files as `read_dds` returns them."""

    def index(self, level: int) -> int:
        """Return a level's index among the stored ones, negative where it is not stored."""
        return level - (self.entry["n_levels"] - len(self.levels))

    def codes(self) -> list[np.ndarray]:
        """Return the stored levels as int32 codes `[r, r, F]`; raises `UserError` where a value is no code."""
        try:
            return [self.storage.unpack(level) for level in self.levels]
        except ValueError as error:
            raise UserError(f"{self.path} holds {error}; export the material again") from error

    def values(self, index: int, curves: np.ndarray | None = None) -> np.ndarray:
        """Return the features of a stored level, planar: float32 `[F, r, r]`, along their curves `[F, 4]` if any."""
        side = self.entry["base_resolution"] << (self.entry["n_levels"] - len(self.levels) + index)
        values = np.empty((self.entry["n_features"], side, side), np.float32)
        if self.storage.fields:
            words = self.storage.words(self.levels[index])
            for feature, field in enumerate(self.storage.fields):
                table = along_curve(field_values(field.bits), curves, feature)
                np.take(table, unpack_field(words, field), out=values[feature], mode="clip")
            return values
        # In double precision the levels come out exact, as they are short binary fractions.
        maximum = self.storage.format.channel_max
        table = (np.arange(maximum + 1) / maximum * self.entry["scale"] + self.entry["offset"]).astype(np.float32)
        for part, level in enumerate(self.levels[index]):
            channels = unpack_channels(level, self.storage.format.dxgi)
            for feature in range(4 * part, min(4 * part + 4, len(values))):
                curved = along_curve(table, curves, feature)
                np.take(curved, channels[..., feature - 4 * part], out=values[feature], mode="clip")
        return values


def read_grid(folder: Path, entry: dict, all_levels: bool | None) -> StoredGrid:
    """Read a grid's files; `all_levels`: whether the manifest promises all levels or the finest alone (None: neither).

    Raises `UserError` where a file is damaged or not what the manifest says, before its texels are read.
    """
    promised = {True: (entry["n_levels"],), False: (1,), None: (1, entry["n_levels"])}[all_levels]
    files = []
    for name in entry["files"]:

        def accept(header: DdsHeader, path: Path = folder / name) -> None:
            if (
                header.format.name != entry["format"]
                or header.mip_count not in promised
                or {header.width, header.height} != {entry["max_resolution"]}
            ):
                raise UserError(
                    f"{path} holds {header.width} x {header.height} {header.format.name} with "
                    f"{header.mip_count} mips, which is not what its manifest says; export the material again"
                )

        files.append(read_dds(folder / name, accept)[1])
    if len({len(levels) for levels in files}) != 1:
        raise UserError(f"the files of {folder / entry['files'][0]}'s grid differ in mips; export the material again")
    return StoredGrid(folder / entry["files"][0], entry, stored_as(entry), [list(level) for level in zip(*files)][::-1])
