"""Levels, straight-through rounding, noise and codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs import QUANTIZE_BITS
from quantize import clamp_range, codes_to_values, level_values, noise_amplitude, quantize_ste, values_to_codes
from utils.errors import UsageError


def test_two_bits_give_the_four_levels_worked_by_hand():
    assert level_values(2).tolist() == [-0.375, -0.125, 0.125, 0.375]
    assert level_values(2).dtype == np.float32
    assert clamp_range(2) == (-0.375, 0.375)


@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_levels_are_symmetric_equally_spaced_and_end_at_the_clamp_range(bits):
    values = level_values(bits).astype(np.float64)
    assert len(values) == 2**bits
    assert (np.diff(values) == 2.0**-bits).all()
    assert (values == -values[::-1]).all()
    assert (values[0], values[-1]) == clamp_range(bits)


def test_a_sampler_value_turns_into_the_feature_as_documented():
    codes = np.arange(256)
    assert np.allclose((codes / 255 - 0.5) * 255 / 256, level_values(8), atol=1e-8)


@pytest.mark.parametrize("bits", [0, 9, 12, 32])
def test_other_bits_are_refused_and_named(bits):
    with pytest.raises(UsageError, match=f"quantize_bits {bits} "):
        level_values(bits)


def test_rounding_picks_the_nearest_level_and_clamps():
    x = torch.tensor([-9.0, -0.376, -0.26, -0.24, -0.01, 0.01, 0.24, 0.26, 9.0])
    assert quantize_ste(x, 2).tolist() == [-0.375, -0.375, -0.375, -0.125, -0.125, 0.125, 0.125, 0.375, 0.375]


MIXED = [1, 2, 3, 4, 5, 6, 7, 8, 16]


def test_features_of_several_bits_are_rounded_each_to_its_own_levels():
    random = torch.Generator().manual_seed(3)
    x = torch.rand(2000, len(MIXED), generator=random) * 1.4 - 0.7
    bits = torch.tensor(MIXED, dtype=torch.float32)
    noise, amplitude = torch.rand(x.shape, generator=random), noise_amplitude(1, 4, 1.0, 0.8, bits)
    for uniform_noise in (None, noise):
        rounded = quantize_ste(x, bits, amplitude, uniform_noise)
        for feature, count in enumerate(MIXED):
            alone = None if uniform_noise is None else uniform_noise[:, feature]
            width = noise_amplitude(1, 4, 1.0, 0.8, count)
            assert torch.equal(rounded[:, feature], quantize_ste(x[:, feature], count, width, alone))
    low, high = clamp_range(bits)
    for feature, count in enumerate(MIXED):
        assert (low[feature].item(), high[feature].item()) == clamp_range(count)


def test_codes_of_several_bits_come_back_and_numpys_are_torchs():
    x = torch.rand(500, len(MIXED), generator=torch.Generator().manual_seed(4)) * 1.4 - 0.7
    bits = torch.tensor(MIXED, dtype=torch.float32)
    codes = values_to_codes(x, bits)
    assert (codes >= 0).all() and (codes.amax(0) == 2**bits - 1).all()
    assert torch.equal(codes_to_values(codes, bits), quantize_ste(x, bits))
    assert torch.equal(values_to_codes(codes_to_values(codes, bits), bits), codes)
    np.testing.assert_array_equal(values_to_codes(x.numpy(), bits.numpy()), codes.numpy())
    np.testing.assert_array_equal(codes_to_values(codes.numpy(), bits.numpy()), codes_to_values(codes, bits).numpy())


def test_the_gradient_of_a_feature_ends_at_its_own_range():
    x = torch.tensor([[0.3, 0.3, 0.3]], requires_grad=True)
    quantize_ste(x, torch.tensor([1.0, 2.0, 8.0])).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 1.0]]


def uniform(count, seed=0):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_rounded_values_are_exactly_levels(bits):
    x = torch.rand(10000, generator=torch.Generator().manual_seed(bits)) * 1.2 - 0.6
    rounded = quantize_ste(x, bits, 2.0**-bits, uniform(10000, 1)).numpy()
    assert np.isin(rounded, level_values(bits)).all()


@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_rounding_errs_by_at_most_half_a_step_inside_the_range(bits):
    low, high = clamp_range(bits)
    x = torch.linspace(low, high, 9973)
    error = (quantize_ste(x, bits) - x).abs().max().item()
    assert error <= 0.5 * 2.0**-bits + 1e-7
    assert error > 0.4 * 2.0**-bits


def test_gradient_passes_unchanged_inside_the_range_and_stops_outside():
    x = torch.tensor([-0.4, -0.375, -0.1, 0.3, 0.375, 0.376], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (quantize_ste(x, 2) * weights).sum().backward()
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 0]


def test_gradient_equals_that_of_the_loss_at_the_rounded_point():
    target = torch.tensor([0.2, -0.3, 0.05])
    x = torch.tensor([0.1, -0.2, 0.3], requires_grad=True)
    (quantize_ste(x, 4) - target).square().sum().backward()
    rounded = torch.tensor(codes_to_values(values_to_codes(x.detach().numpy(), 4), 4), dtype=torch.float64)
    step = 1e-5
    for k in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[k] = step
        upper, lower = ((rounded + sign * shift - target).square().sum() for sign in (1, -1))
        assert x.grad[k].item() == pytest.approx(((upper - lower) / (2 * step)).item(), abs=1e-5)


def test_noise_does_not_enter_the_gradient():
    x = torch.full((1000,), 0.37, requires_grad=True)
    quantize_ste(x, 2, 0.125, uniform(1000)).sum().backward()
    assert (x.grad == 1).all()


def test_noise_reaches_its_bounds_and_stays_within_them():
    # 16-bit rounding is fine enough to show the noise itself.
    noise = quantize_ste(torch.zeros(200_000), 16, 0.125, uniform(200_000))
    half_step = 2.0**-17
    assert noise.abs().max() <= 0.125 + half_step
    assert noise.max() > 0.1249 and noise.min() < -0.1249
    assert noise.mean().abs() < 1e-3
    assert noise.std().item() == pytest.approx(0.125 / 3**0.5, rel=0.01)


def test_noise_of_half_a_step_moves_a_value_by_at_most_one_level():
    low, high = clamp_range(4)
    x = torch.linspace(low, high, 5001)
    moved = (values_to_codes(quantize_ste(x, 4, 2.0**-5, uniform(5001)), 4) - values_to_codes(x, 4)).abs()
    assert moved.max() == 1


def test_noise_starts_at_half_a_step_and_falls_linearly_to_zero():
    assert noise_amplitude(0, 1000, 1.0, 0.8, 4) == 1 / 32
    assert noise_amplitude(400, 1000, 1.0, 0.8, 4) == pytest.approx(1 / 64)
    assert noise_amplitude(200, 1000, 0.5, 0.8, 4) == pytest.approx(0.5 * 0.75 / 32)
    assert noise_amplitude(800, 1000, 1.0, 0.8, 4) == 0
    assert noise_amplitude(999, 1000, 1.0, 0.8, 4) == 0
    assert noise_amplitude(0, 1000, 1.0, 0.0, 4) == 0


@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_every_code_survives_the_way_to_its_value_and_back(bits):
    codes = np.arange(1 << bits)
    assert (values_to_codes(codes_to_values(codes, bits), bits) == codes).all()
    tensor = torch.arange(1 << bits)
    assert torch.equal(values_to_codes(codes_to_values(tensor, bits), bits), tensor.int())


@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_numpy_and_torch_choose_the_same_codes_also_at_ties(bits):
    ties = (level_values(bits).astype(np.float64) + 0.5 ** (bits + 1)).astype(np.float32)
    x = np.concatenate([ties, np.random.default_rng(bits).uniform(-0.6, 0.6, 50_000).astype(np.float32)])
    codes = values_to_codes(x, bits)
    assert (codes == values_to_codes(torch.from_numpy(x), bits).numpy()).all()
    assert (codes_to_values(codes, bits) == quantize_ste(torch.from_numpy(x), bits).numpy()).all()
