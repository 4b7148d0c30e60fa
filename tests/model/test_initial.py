"""Latents to start from: principal components, one basis for all mips."""

import numpy as np
import pytest
import torch

from configs import PRESETS, HashGridConfig, ModelConfig, config_from_dict
from model.grids.initial import initial_grids, principal_components
from model.layout import model_layout
from quantize import clamp_range


def layout_of(size, **grid):
    return model_layout(ModelConfig(hash_grid_configs=[HashGridConfig(**grid)]), size, size)


def noise_mips(size, channels=5, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (size >> m, size >> m, channels), dtype=np.uint8) for m in range(size.bit_length())]


def start(layout, mips):
    return initial_grids(layout, map(torch.from_numpy, mips), torch.Generator().manual_seed(0))


def test_every_level_gets_finite_latents_inside_the_clamp_range():
    layout = model_layout(
        ModelConfig(
            hash_grid_configs=[
                HashGridConfig(max_resolution=12, n_levels=3),
                HashGridConfig(max_resolution=8, quantize_bits=4),
            ]
        ),
        33,
        20,
    )
    mips = [
        np.random.default_rng(1).integers(0, 256, (max(20 >> m, 1), max(33 >> m, 1), 4), dtype=np.uint8)
        for m in range(layout.mips)
    ]
    for grid, levels in zip(layout.grids, start(layout, mips)):
        for level, values in enumerate(levels):
            assert values.shape == (grid.resolution(level), grid.resolution(level), grid.n_features)
            assert torch.isfinite(values).all() and values.abs().max() <= clamp_range(grid.quantize_bits)[1]


def test_a_constant_texture_starts_from_zero():
    layout = layout_of(16, texels_per_cell=2)
    mips = [np.full((16 >> m, 16 >> m, 3), 90, np.uint8) for m in range(5)]
    assert all(level.abs().max() < 1e-3 for level in start(layout, mips)[0])


def test_the_first_component_explains_a_texture_of_rank_one():
    random = np.random.default_rng(3)
    weight = np.kron(random.random((8, 8)), np.ones((2, 2)))
    image = np.rint(weight[..., None] * [200, 100, 50]).astype(np.uint8)
    level = start(layout_of(16, texels_per_cell=2, n_levels=1), [image])[0][0]
    correlation = np.corrcoef(level[..., 0].reshape(-1), weight[::2, ::2].reshape(-1))[0, 1]
    assert abs(correlation) > 0.999
    assert level[..., 1:].abs().max() < 0.01 * level[..., 0].abs().max()


def test_mips_share_the_basis_of_the_finest():
    layout = layout_of(32, texels_per_cell=2)
    mips = noise_mips(32)
    mips[1] = mips[0][:16, :16]
    levels = start(layout, mips)[0]
    torch.testing.assert_close(levels[-2], levels[-1][:8, :8], atol=1e-6, rtol=0)


def test_components_are_orthonormal_and_sorted_by_spread():
    blocks = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 4, 3, 2, 1, 0.5])
    _, vectors, deviations = principal_components(blocks, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(vectors.t() @ vectors, torch.eye(4), atol=1e-5, rtol=0)
    assert (deviations[:-1] >= deviations[1:]).all()
    assert 4.5 < deviations[0] < 5.5


def test_levels_that_no_mip_reads_are_there_too():
    layout = model_layout(ModelConfig(), 256, 2)
    assert layout.mips < layout.grids[0].n_levels
    mips = [np.full((2 >> m, 256 >> m, 3), 90, np.uint8) for m in range(layout.mips)]
    for grid, levels in zip(layout.grids, start(layout, mips)):
        assert [level.shape[0] for level in levels] == [grid.resolution(level) for level in range(grid.n_levels)]
        assert all(torch.isfinite(level).all() for level in levels)


@pytest.mark.parametrize("size", [40, 48, 96])
def test_noise_beside_constant_maps_has_a_start(size):
    """On such a covariance the solver does not converge in single precision, depending on size and threads."""
    layout = model_layout(config_from_dict(PRESETS["quality"]).model, size, size)
    mips = []
    for mip in range(layout.mips):
        noise = np.random.default_rng(0).integers(0, 256, (size >> mip, size >> mip, 3), dtype=np.uint8)
        constant = np.full((size >> mip, size >> mip, 4), (128, 128, 255, 90), np.uint8)
        mips.append(np.concatenate([noise, constant], -1))
    assert all(torch.isfinite(level).all() for levels in start(layout, mips) for level in levels)
