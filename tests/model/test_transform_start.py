"""A texture that begins as a block transform coder: before the first step it is at least as good as that coder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs import HashGridConfig, ModelConfig
from model.layout import model_layout
from model.texture import NeuralTexture
from model.transform import block_transform, cut_blocks, features_on_curves, fit_curves
from model.transform_start import TransformStart, component_of_feature
from quantize import quantize_ste

BITS = [6, 5, 4, 4, 3, 3, 2, 2, 1, 1, 1]


def mips_of(size, seed=0):
    """Four channels of smooth noise with edges, [H, W, 4] in [0, 1], and their box-filtered mips."""
    random = torch.Generator().manual_seed(seed)
    image = torch.zeros(size, size, 4)
    for octave in range(2, 6):
        noise = torch.rand(1, 4, 1 << octave, 1 << octave, generator=random) - 0.5
        layer = torch.nn.functional.interpolate(noise, size=(size, size), mode="bilinear")
        image += layer[0].permute(1, 2, 0) * 0.7**octave
    image[size // 4 : size // 2, size // 3 :, :2] += 0.2
    mips = [(image + 0.5).clamp(0, 1)]
    while mips[-1].shape[0] > 1:
        planes = mips[-1].permute(2, 0, 1)[None]
        mips.append(torch.nn.functional.avg_pool2d(planes, 2)[0].permute(1, 2, 0))
    return mips


def started(mips, *, seed=0, **model):
    grids = [HashGridConfig(texels_per_cell=4, interpolation="gather", feature_bits=BITS)]
    config = ModelConfig(
        **{
            "hash_grid_configs": grids,
            "linear_order": 3,
            "feature_curves": True,
            "use_bias": True,
            "output_activation": "none",
            "n_frequencies": 2,
            "period_cells": 1,
            **model,
        }
    )
    size = mips[0].shape[0]
    generator = torch.Generator().manual_seed(seed)
    texture = NeuralTexture(model_layout(config, size, size), [0, 1, 2, 6], torch.device("cpu"), generator)
    TransformStart(texture, generator)(iter(mips))
    return texture


def psnr(image, decoded):
    return -10 * torch.log10((decoded.clamp(0, 1) - image).square().mean()).item()


def transform_coded(image, bits):
    """The block transform of 4 x 4 texels with a curve for each component, decoded."""
    generator = torch.Generator().manual_seed(0)
    size, mean = image.shape[0], image.mean((0, 1))
    blocks = cut_blocks(image - mean, size // 4, 4)
    vectors = block_transform(blocks, 4, generator).vectors[:, : len(bits)]
    coefficients = blocks @ vectors
    decoded = torch.zeros_like(coefficients)
    for index, count in enumerate(bits):
        column = coefficients[:, index : index + 1]
        curve, _ = fit_curves(column, count, generator)
        t = quantize_ste(features_on_curves(column, curve, [count]), count)
        c0, c1, c2, c3 = curve[0]
        decoded[:, index : index + 1] = c0 + t * (c1 + t * (c2 + t * c3))
    blocks = (decoded @ vectors.t()).view(size // 4, size // 4, 4, 4, -1)
    return blocks.permute(0, 2, 1, 3, 4).reshape(size, size, -1) + mean


@pytest.mark.parametrize("wrap", [True, False])
def test_the_start_is_at_least_as_good_as_the_block_transform(wrap):
    mips = mips_of(64)
    texture = started(mips, wrap=wrap)
    coder = psnr(mips[0], transform_coded(mips[0], BITS))
    assert coder > 20
    # Least squares may give a little back where cells of the border are not fitted.
    assert psnr(mips[0], texture.decode(0)) > coder - 0.05


def test_every_mip_begins_as_its_own_texels():
    mips = mips_of(64)
    texture = started(mips)
    for mip in range(3):
        assert psnr(mips[mip], texture.decode(mip)) > psnr(mips[mip], mips[mip].mean((0, 1))) + 5


def test_bits_are_used_to_the_full_and_latents_lie_inside_the_range():
    texture = started(mips_of(64))
    values = texture.grids.levels(0)[-1]
    limits = (2.0 ** torch.tensor(BITS) - 1) / 2.0 ** (torch.tensor(BITS) + 1)
    # A feature may begin a part of a step beyond its last level.
    assert (values.abs() <= limits + 0.5 / 2.0 ** torch.tensor(BITS)).all()
    assert all(torch.isfinite(parameter).all() for parameter in texture.parameters())


def test_a_blended_grid_before_it_takes_what_is_smooth():
    mips = mips_of(64)
    grids = [
        HashGridConfig(texels_per_cell=4, interpolation="gather", feature_bits=BITS),
        HashGridConfig(texels_per_cell=8, feature_bits=[8, 8, 8, 8]),
    ]
    alone, both = started(mips), started(mips, hash_grid_configs=grids)
    assert psnr(mips[0], both.decode(0)) > psnr(mips[0], alone.decode(0))


@pytest.mark.parametrize("size", [(40, 40), (36, 20), (5, 3)])
def test_sizes_that_are_no_whole_cells_and_constant_images_start_finite(size):
    width, height = size
    generator = torch.Generator().manual_seed(0)
    for image in (torch.full((height, width, 4), 0.5), torch.rand(height, width, 4, generator=generator)):
        config = ModelConfig(
            hash_grid_configs=[HashGridConfig(texels_per_cell=4, interpolation="gather", feature_bits=BITS)],
            linear_order=3,
            feature_curves=True,
            use_bias=True,
            output_activation="none",
        )
        layout = model_layout(config, width, height)
        texture = NeuralTexture(layout, [0, 1, 2, 6], torch.device("cpu"), generator)
        mips = [image]
        for _ in range(1, layout.mips):
            rows, columns = (max(side // 2, 1) for side in mips[-1].shape[:2])
            planes = torch.nn.functional.adaptive_avg_pool2d(mips[-1].permute(2, 0, 1)[None], (rows, columns))
            mips.append(planes[0].permute(1, 2, 0))
        TransformStart(texture, generator)(iter(mips))
        assert torch.isfinite(texture.decode(0)).all()
        if image.std() == 0:
            np.testing.assert_allclose(texture.decode(0).numpy(), 0.5, atol=1e-3)


def test_the_same_seed_starts_the_same():
    mips = mips_of(32)
    for ours, theirs in zip(started(mips).parameters(), started(mips).parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_feature_holds_a_component_that_was_given_as_many_bits():
    shared = [8, 6, 6, 3, 2, 2, 1, 0, 0]
    order = [2, 6, 8, 6, 1, 3, 2]
    chosen = component_of_feature(order, shared)
    assert [shared[component] for component in chosen] == order and len(set(chosen)) == len(order)
    # Where bits differ, no component is held twice, and those of the largest variance are.
    chosen = component_of_feature([7, 7, 2], shared)
    assert sorted(chosen) == [0, 1, 4]
