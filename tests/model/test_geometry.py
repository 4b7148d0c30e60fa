"""Look-up tables of taps and encoding: the same answers with and without one, and none that is too large."""

import dataclasses

import numpy as np
import pytest
from model.grids.geometry import TABLE_BYTES, axis_encoding, axis_table, axis_taps, drawn_encoding, drawn_taps

from configs import HashGridConfig, ModelConfig
from model.grids import geometry
from model.layout import model_layout


def layout_of(size, interpolation="bilinear", **model):
    return model_layout(ModelConfig(hash_grid_configs=[HashGridConfig(texels_per_cell=4, interpolation=interpolation)],
                                    **model), size, size)


def grid_weights(taps, resolution):
    """What every texel takes of every grid texel, [B, T, resolution]."""
    places = np.eye(resolution, dtype=np.float32)[taps.index]
    return np.matmul(taps.interpolation_matrix(), places)


def cells(taps):
    """Lower tap of every texel as a grid texel, [B, T], both from the cells and from their matrix."""
    found = np.take_along_axis(taps.index, taps.cell, 1)
    spread = np.matmul(taps.cell_matrix(), taps.index[:, :-1, None].astype(np.float32))[..., 0]
    assert (spread == found).all()
    return found


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("alignment", [(1, 0), (4, 2)])
def test_drawn_taps_are_the_same_with_a_table_and_without(wrap, alignment, monkeypatch):
    grid = layout_of(64).grids[0]
    origins = alignment[1] + alignment[0] * np.array([0, 3, 11, 5])
    texels = origins[:, None] + np.arange(16)
    ways = {}
    for limit in (TABLE_BYTES, 0):
        monkeypatch.setattr(geometry, "TABLE_BYTES", limit)
        before = axis_table.cache_info()
        for interpolation in ("bilinear", "gather"):
            ways[limit, interpolation] = drawn_taps(texels, 64, dataclasses.replace(grid, interpolation=interpolation),
                                                    16, wrap, alignment)
        asked = axis_table.cache_info().hits + axis_table.cache_info().misses - before.hits - before.misses
        assert asked == (2 if limit else 0)
    direct = axis_taps(texels, 64, 16, wrap)
    for taps in ways.values():
        assert (grid_weights(taps, 16) == grid_weights(direct, 16)).all()
        assert (cells(taps) == cells(direct)).all() and (taps.fraction == direct.fraction).all()


def test_no_table_is_made_that_would_take_hundreds_of_megabytes():
    grid = layout_of(4096).grids[0]
    before = axis_table.cache_info().currsize
    texels = np.array([[0], [1001]]) + np.arange(256)
    taps = drawn_taps(texels, 4096, grid, 2048, True, (1, 0))
    assert axis_table.cache_info().currsize == before
    assert taps.interpolation_matrix().nbytes < 1 << 20
    drawn_taps(texels[:, :32], 4096, grid, 1024, True, (1, 0))
    assert axis_table.cache_info().currsize == before + 1


@pytest.mark.parametrize("limit", [0, TABLE_BYTES])
def test_the_drawn_encoding_is_the_same_with_a_table_and_without(limit, monkeypatch):
    monkeypatch.setattr(geometry, "TABLE_BYTES", limit)
    layout = layout_of(32, "gather", n_frequencies=3, period_cells=2, phases=2)
    texels = np.array([[2], [14], [30]]) + np.arange(8)
    assert (drawn_encoding(texels, 32, layout, 0, (4, 2)) == axis_encoding(texels, 32, layout, 0)).all()
