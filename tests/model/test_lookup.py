"""Look-ups of tiles: the same with tables and without, none too large, and what tells two of them apart."""

import numpy as np
import pytest

from configs import HashGridConfig, ModelConfig
from model.grids import lookup
from model.grids.cells import AlignedCells
from model.grids.lookup import TABLE_BYTES, TilePlanner, arrays_of, signature, with_arrays
from model.grids.taps import axis_taps
from model.grids.tiles import Alignment, TileGroup, cell_alignment
from model.layout import model_layout


def layout_of(size, interpolation="bilinear", cells=4, **model):
    return model_layout(
        ModelConfig(hash_grid_configs=[HashGridConfig(texels_per_cell=cells, interpolation=interpolation)], **model),
        *(size if isinstance(size, tuple) else (size, size)),
    )


def group_of(mip, origins, side, alignment=None):
    origins = np.array(origins)
    return TileGroup(mip, origins[:, :1] + np.arange(side), origins[:, 1:] + np.arange(side), alignment)


def texel_weights(taps, resolution):
    """What every texel takes of every grid texel, [B, T, resolution]."""
    return np.matmul(taps.interpolation_matrix(), np.eye(resolution, dtype=np.float32)[taps.index])


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("alignment", [Alignment(), Alignment(4, 2)])
@pytest.mark.parametrize("interpolation", ["bilinear", "gather"])
def test_tiles_are_looked_up_alike_with_tables_and_without(interpolation, alignment, wrap, monkeypatch):
    layout = layout_of(
        64,
        interpolation,
        wrap=wrap,
        n_frequencies=3,
        period_cells=2,
        phases=2,
        position_order=int(interpolation == "gather"),
    )
    origins = [
        (alignment.phase + alignment.step * x, alignment.phase + alignment.step * y)
        for x, y in ((0, 3), (11, 5), (3, 0))
    ]
    groups = [group_of(0, origins, 16, (alignment, alignment))]
    found = []
    for limit in (TABLE_BYTES, 0):
        monkeypatch.setattr(lookup, "TABLE_BYTES", limit)
        planner = TilePlanner(layout)
        found.append(planner.look_up(groups))
        assert bool(planner._tables) == bool(planner._encodings) == bool(limit)
    direct = TilePlanner(layout).look_up([group_of(0, origins, 16)])
    if interpolation == "gather" and alignment.step == 4:
        assert isinstance(found[0][0].grids[0].cells, AlignedCells)
    # Tiles that lie otherwise may widen a table, so grid texels are compared by what texels take of them.
    for lookups in found:
        assert signature(lookups, []) == signature(direct, []) or interpolation == "bilinear" or alignment.step == 1
        for ours, theirs in zip(lookups[0].encoding, direct[0].encoding):
            assert np.array_equal(ours, theirs)
    if interpolation == "bilinear":
        for lookups in (*found, direct):
            grid, side = lookups[0].grids[0], layout.grids[0].max_resolution
            rows = np.matmul(grid.rows, np.eye(side)[(grid.texels[:, :, 0] - planner._offsets[0][-2]) // side])
            expected = texel_weights(axis_taps(groups[0].y, 64, side, wrap), side)
            assert np.allclose(rows, expected, atol=1e-7)


def test_no_table_is_made_that_would_take_hundreds_of_megabytes():
    planner = TilePlanner(layout_of(4096, cells=2))
    origins, alignment = [(0, 0), (1001, 7)], (Alignment(), Alignment())
    lookups = planner.look_up([group_of(0, origins, 256, alignment)])
    assert not planner._tables and lookups[0].grids[0].rows.nbytes < 1 << 20
    planner.look_up([group_of(0, origins, 16, alignment)])
    assert len(planner._tables) == 1


@pytest.mark.parametrize("size, wrap", [((64, 64), True), ((64, 32), True), ((64, 32), False), ((64, 64), False)])
def test_tiles_on_cell_borders_of_both_axes_get_cells_of_whole_texels(size, wrap):
    layout = layout_of(size, "gather", wrap=wrap)
    along_x, along_y = cell_alignment(layout, 0)
    assert (
        along_x.step == size[0] // layout.grids[0].max_resolution
        and along_y.step == size[1] // layout.grids[0].max_resolution
    )
    group = group_of(
        0, [(along_x.phase, along_y.phase), (along_x.phase - along_x.step, along_y.phase)], 8, (along_x, along_y)
    )
    cells = TilePlanner(layout).look_up([group])[0].grids[0].cells
    assert isinstance(cells, AlignedCells) and cells.texels == (along_y.step, along_x.step)


def test_an_axis_without_cells_of_whole_texels_has_no_alignment():
    along_x, along_y = cell_alignment(layout_of((64, 60), "gather"), 0)
    assert along_x.step == 4 and along_y == Alignment(1, 0)


def test_the_signature_tells_apart_what_runs_other_operations_and_nothing_else():
    planner = TilePlanner(layout_of(64, "gather", position_order=1))

    def of(mip, x, tiles=1, side=8):
        lookups = planner.look_up([group_of(mip, [(x, 0)] * tiles, side)])
        arrays = arrays_of(lookups)
        assert all(a is b for a, b in zip(arrays_of(with_arrays(lookups, arrays)), arrays, strict=True))
        return signature(lookups, arrays)

    assert of(0, 3) == of(0, 31) == of(0, 51) and hash(of(0, 3)) == hash(of(0, 31))
    assert len({of(0, 3), of(0, 3, tiles=2), of(0, 3, side=4)}) == 3
