"""What tiles read from the grids, worked out on the host: which grid texels, with which weights.

A batch of tiles becomes a list of `TileLookup`, trees of named tuples whose leaves are arrays: NumPy's on the host,
tensors after `to_device`. All that differs between two batches of one `signature` is in the arrays.

Letters: `B` tiles, `Ty, Tx` texels of a tile, `Ky, Kx` grid texels under a tile, `P` encoding values per axis.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from images.mips import mip_size
from model.grids.cells import AlignedCells, Array, CellMatrices, CellsToTexels
from model.grids.layout import FeatureLayout
from model.grids.taps import AxisTaps, axis_encoding, axis_taps, cell_basis
from model.grids.tiles import Alignment, TileGroup, flat_index

TABLE_BYTES = 1 << 25
"""Most memory of the weights that are kept for all tiles of an axis; larger ones are worked out as tiles are drawn."""
Tree = TypeVar("Tree")


class BilinearLookup(NamedTuple):
    """A blended grid under tiles: features = rows x grid texels x columns^T."""

    texels: Array
    """Rows of the grid's table under each tile, int64 [B, Ky, Kx]."""
    rows: Array
    """Float32 [B, Ty, Ky]: the weight of each grid row for each texel row."""
    columns: Array
    """Float32 [B, Tx, Kx]."""


class GatherLookup(NamedTuple):
    """A gathered grid under tiles: four taps for every cell, and how cells are laid over texels."""

    texels: Array
    """Rows of the grid's table under each tile, int64 [B, Ky, Kx]; they bound (Ky - 1) * (Kx - 1) cells."""
    cells: CellsToTexels
    linear: CellsToTexels | tuple[()]
    """The same for the linear decoder, whose functions of the place may be others; () without one."""


class TileLookup(NamedTuple):
    """All that tiles of one shape read."""

    mip: int
    """Of the first tiles; others may follow where the planner joins mips."""
    shape: tuple[int, int, int]
    """B, Ty, Tx."""
    encoding: tuple[Array, ...]
    """Positional encoding of the columns [B, Tx, P] and of the rows [B, Ty, P], float32; empty without one."""
    grids: tuple[BilinearLookup | GatherLookup, ...]
    constants: Array
    """What all texels of a tile share, float32 [B, 1, 1, 1 + n_padding]: lod, then the layout's ones."""

    @property
    def n_texels(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]


def arrays_of(tree: object) -> list[Array]:
    """Return the arrays of a tree of tuples and lists, depth first."""
    if isinstance(tree, (np.ndarray, torch.Tensor)):
        return [tree]
    return [array for part in tree for array in arrays_of(part)] if isinstance(tree, (tuple, list)) else []


def with_arrays(tree: Tree, arrays: Iterable[Array]) -> Tree:
    """Return the same tree with other arrays, in the order of `arrays_of`."""
    rest = iter(arrays)

    def fill(part: Any) -> Any:
        if isinstance(part, (np.ndarray, torch.Tensor)):
            return next(rest)
        if isinstance(part, (tuple, list)):
            parts = [fill(each) for each in part]
            return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
        return part

    return fill(tree)


def signature(lookups: list[TileLookup], arrays: list[Array]) -> Hashable:
    """Return all that differs between batches besides the values in their arrays: equal ones run the same operations.

    `arrays` are those of the look-ups, and more if need be. Mips count by the arrays' values alone.
    """
    fixed = with_arrays([lookup._replace(mip=0) for lookup in lookups], [() for _ in arrays_of(lookups)])
    return tuple(fixed), tuple(array.shape for array in arrays)


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Move a host array to the device without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor if device.type == "cpu" else tensor.to(device)


def lookups_to_device(lookups: list[TileLookup], device: torch.device) -> list[TileLookup]:
    """Return look-ups whose arrays are tensors on the device."""
    return with_arrays(lookups, [to_device(array, device) for array in arrays_of(lookups)])


class _AxisTable:
    """Taps of tiles on one axis of one grid level, and the weights made from them, each once."""

    def __init__(self, taps: AxisTaps, resolution: int) -> None:
        self.taps, self.resolution = taps, resolution
        self.weights: dict[str, np.ndarray] = {}


class _Axis(NamedTuple):
    """Some tiles of a table (all where `tiles` is None)."""

    table: _AxisTable
    tiles: np.ndarray | None

    @property
    def grid_texels(self) -> np.ndarray:
        """Grid texels under each tile, int64 [B, K]."""
        return self._of(self.table.taps.index)

    @property
    def cell_texels(self) -> int:
        return self.table.taps.cell_texels

    def weights(self, name: str, make: Callable[[AxisTaps, int], np.ndarray]) -> np.ndarray:
        """Return the tiles' weights; `make` works those of the whole table out, the first time."""
        if name not in self.table.weights:
            self.table.weights[name] = make(self.table.taps, self.table.resolution)
        return self._of(self.table.weights[name])

    def _of(self, array: np.ndarray) -> np.ndarray:
        return array if self.tiles is None else array[self.tiles]


def blend_weights(taps: AxisTaps, resolution: int) -> np.ndarray:
    """What the PyTorch grids need to blend taps along an axis."""
    return taps.interpolation_matrix()


class TilePlanner:
    """Works out the look-ups of tile groups, and keeps those of all tiles that an aligned sampler can draw.

    `blend`: what a bilinear grid's look-up holds for an axis, from its taps and the level's resolution. `joins_mips`:
    whether tiles of neighbouring groups that lie alike on every grid share a look-up, so that they are worked on at once.
    """

    def __init__(
        self,
        layout: FeatureLayout,
        blend: Callable[[AxisTaps, int], np.ndarray] = blend_weights,
        joins_mips: bool = True,
    ) -> None:
        self.layout, self.blend, self.joins_mips = layout, blend, joins_mips
        self._tables: dict[Hashable, _AxisTable] = {}
        self._encodings: dict[Hashable, np.ndarray] = {}
        self._bases: dict[Hashable, np.ndarray] = {}
        self._offsets = [
            np.cumsum([0, *(grid.resolution(level) ** 2 for level in range(grid.n_levels))]).tolist()
            for grid in layout.grids
        ]

    def look_up(self, groups: list[TileGroup]) -> list[TileLookup]:
        """Return what `FeatureGrids` needs to know of tile groups; the arrays are NumPy's, texels in the groups' order."""
        joined: list[tuple[list[TileGroup], list[list[tuple[_Axis, _Axis]]]]] = []
        last = None
        for group in groups:
            axes = [
                (self._axis(group, 0, index), self._axis(group, 1, index)) for index in range(len(self.layout.grids))
            ]
            lies = (
                group.x.shape[1],
                group.y.shape[1],
                *((axis.table.taps.index.shape[1], axis.cell_texels) for pair in axes for axis in pair),
            )
            if self.joins_mips and lies == last:
                joined[-1][0].append(group)
                joined[-1][1].append(axes)
            else:
                joined.append(([group], [axes]))
            last = lies
        return [self._look_up(members, axes) for members, axes in joined]

    def _look_up(self, groups: list[TileGroup], axes: list[list[tuple[_Axis, _Axis]]]) -> TileLookup:
        """Return the look-up of groups that lie alike; `axes` holds each group's x and y on each grid."""
        counts = [len(group.x) for group in groups]
        constants = np.ones((sum(counts), 1, 1, 1 + self.layout.n_padding), np.float32)
        constants[..., 0] = np.repeat([self.layout.lod(group.mip) for group in groups], counts)[:, None, None]
        return TileLookup(
            groups[0].mip,
            (sum(counts), groups[0].y.shape[1], groups[0].x.shape[1]),
            self._encoding(groups),
            tuple(
                self._grid_lookup(index, groups, [pairs[index] for pairs in axes])
                for index in range(len(self.layout.grids))
            ),
            constants,
        )

    def _grid_lookup(
        self, index: int, groups: list[TileGroup], pairs: list[tuple[_Axis, _Axis]]
    ) -> BilinearLookup | GatherLookup:
        grid, order = self.layout.grids[index], self.layout.position_order
        levels = [grid.level_of_mip(group.mip) for group in groups]
        rows = _joined(
            [
                flat_index(y.grid_texels, x.grid_texels, grid.resolution(level)) + self._offsets[index][level]
                for level, (x, y) in zip(levels, pairs)
            ]
        )
        if not grid.gathered:
            return BilinearLookup(
                rows, *(_joined([pair[axis].weights("blend", self.blend) for pair in pairs]) for axis in (1, 0))
            )
        linear = self.layout.linear_order
        return GatherLookup(rows, self._cells(pairs, order), () if linear is None else self._cells(pairs, linear))

    def _cells(self, pairs: list[tuple[_Axis, _Axis]], order: int) -> CellsToTexels:
        """Return how values of cells, one for each function of the place up to an order, are laid over texels."""
        x, y = pairs[0]
        if x.cell_texels and y.cell_texels:
            return AlignedCells((y.cell_texels, x.cell_texels), self._basis(x, y, order))
        along_y, along_x = (
            _joined([pair[axis].weights(f"cells {order}", lambda taps, _: taps.cell_matrix(order)) for pair in pairs])
            for axis in (1, 0)
        )
        return CellMatrices(along_y, along_x, order)

    def _axis(self, group: TileGroup, axis: int, index: int) -> _Axis:
        """Return one axis (0: x, 1: y) of a group on a grid, looked up where the tiles have an alignment."""
        texels = (group.x, group.y)[axis]
        size = mip_size(self.layout.width, self.layout.height, group.mip)[axis]
        resolution = self.layout.grids[index].resolution_of_mip(group.mip)
        values = texels.shape[1] * resolution // size + 2
        if group.alignment is None or not _table_fits(texels.shape[1], size, group.alignment[axis], values):
            return _Axis(_AxisTable(axis_taps(texels, size, resolution, self.layout.wrap), resolution), None)
        step, phase = group.alignment[axis]
        key = texels.shape[1], size, resolution, step, phase
        if key not in self._tables:
            every = _all_tiles(texels.shape[1], size, group.alignment[axis])
            self._tables[key] = _AxisTable(axis_taps(every, size, resolution, self.layout.wrap), resolution)
        return _Axis(self._tables[key], _tile_numbers(texels, group.alignment[axis]))

    def _encoding(self, groups: list[TileGroup]) -> tuple[np.ndarray, ...]:
        if not self.layout.n_frequencies:
            return ()
        return tuple(_joined([self._axis_encoding(group, axis) for group in groups]) for axis in (0, 1))

    def _axis_encoding(self, group: TileGroup, axis: int) -> np.ndarray:
        texels = (group.x, group.y)[axis]
        size = mip_size(self.layout.width, self.layout.height, group.mip)[axis]
        values = self.layout.n_frequencies * self.layout.phases
        if group.alignment is None or not _table_fits(texels.shape[1], size, group.alignment[axis], values):
            return axis_encoding(texels, size, self.layout, group.mip)
        key = group.mip, axis, texels.shape[1], *group.alignment[axis]
        if key not in self._encodings:
            every = _all_tiles(texels.shape[1], size, group.alignment[axis])
            self._encodings[key] = axis_encoding(every, size, self.layout, group.mip)
        return self._encodings[key][_tile_numbers(texels, group.alignment[axis])]

    def _basis(self, x: _Axis, y: _Axis, order: int) -> np.ndarray | None:
        """Return the functions at the places of an aligned cell's texels, None with the constant one alone."""
        if not order:
            return None
        rows, columns = (axis.table.taps.fraction[0, : axis.cell_texels] for axis in (y, x))
        key = order, rows.tobytes(), columns.tobytes()
        if key not in self._bases:
            self._bases[key] = cell_basis(rows, columns, order)
        return self._bases[key]


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _all_tiles(n_texels: int, size: int, alignment: Alignment) -> np.ndarray:
    """Texels [O, T] of every tile that can be drawn; the foremost of a clamped axis begins one step before its border."""
    step, phase = alignment
    return np.arange(phase - step, size + phase, step)[:, None] + np.arange(n_texels)


def _tile_numbers(texels: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Return which of `_all_tiles` tiles [B, T] are, int64 [B]."""
    step, phase = alignment
    return (texels[:, 0] - phase) // step + 1


def _table_fits(n_texels: int, size: int, alignment: Alignment, values: int) -> bool:
    """Whether a float32 table of `values` per texel of every tile that can be drawn is within `TABLE_BYTES`."""
    return (size // alignment.step + 2) * n_texels * values * 4 <= TABLE_BYTES
