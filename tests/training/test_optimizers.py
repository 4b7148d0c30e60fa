"""The optimisers: Adam against torch's, Adam on touched texels, Muon, and their saved state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.decoder.canonical import canonical_weights, load_canonical_weights
from model.grids.feature_grids import TouchedTexels
from quantize import clamp_range
from tests.model.plain_rendering import CASES, all_levels, grid, make_texture, run_tiles, sample_groups, tiles
from training.latent_optimizers import TouchedAdam, TouchedNewton, latent_weights
from training.optimizers import Adam, Muon, Optimizers


@pytest.mark.parametrize("betas", [[], [0.9]])
def test_touched_adam_equals_a_dense_adam_on_the_touched_texels_and_leaves_the_others(betas):
    random = np.random.default_rng(0)
    texels, features, lr, limits = 12, 3, 0.1, (-0.4, 0.4)
    values = torch.from_numpy(random.uniform(-0.4, 0.4, (texels, features)).astype(np.float32))
    expected = values.double().numpy().copy()
    second, count = np.zeros_like(expected), np.zeros((texels, 1))
    optimizer = TouchedAdam(values, lr, limits, *betas)
    for step in range(25):
        touches, total = [], np.zeros_like(expected)
        for _ in range(1 + step % 3):
            index = random.integers(0, texels - 2, 7)
            gradient = random.normal(size=(7, features)).astype(np.float32)
            np.add.at(total, index, gradient)
            read = torch.zeros(7, features, requires_grad=True)
            read.grad = torch.from_numpy(gradient)
            touches.append(TouchedTexels(0, torch.from_numpy(index), read))
        rows = np.unique(np.concatenate([read.rows.numpy() for read in touches]))
        scale = 1 - step / 50
        count[rows] += 1
        second[rows] = optimizer.beta * second[rows] + (1 - optimizer.beta) * total[rows] ** 2
        update = total[rows] / np.sqrt(second[rows] / (1 - optimizer.beta ** count[rows]))
        expected[rows] = np.clip(expected[rows] - lr * scale * update, *limits)
        optimizer.apply(touches, torch.tensor(optimizer.begin_step(scale)["length"]))
        np.testing.assert_allclose(values.numpy(), expected, atol=2e-5)
    assert (count[-2:] == 0).all() and count[:-2].min() < count.max()


def step_one(optimizer, lr_scale=1.0):
    """Make a step of one of the decoder's optimisers."""
    optimizer.apply(**{name: torch.tensor(value) for name, value in optimizer.begin_step(lr_scale).items()})


def step(optimizers, touched, lr_scale=1.0, allowed=None, n_values=1000):
    """Make a step of all optimisers of a texture."""
    optimizers.apply(
        {name: torch.tensor(value) for name, value in optimizers.begin_step(lr_scale).items()},
        touched,
        n_values,
        allowed,
    )


def test_a_newton_step_on_a_linear_decoder_lands_on_the_least_squares_of_a_single_latent():
    """Values y = W v(t) with one touched texel of one feature: the mean of (y - target)^2 is least where its step ends."""
    random = np.random.default_rng(5)
    for c0, c1 in ((0.0, 1.0), (0.3, -2.5)):
        weights, target = torch.from_numpy(random.normal(size=(2, 40)).astype(np.float32))
        table = torch.tensor([[0.01], [0.2]])
        best = (torch.dot(weights, target) / torch.dot(weights, weights) - c0) / c1
        # The target moved so that it lies within a step of where the latent is.
        target = target + weights * c1 * (0.03 - best)
        curves, total = torch.tensor([[c0, c1, 0.0, 0.0]]), weights.square().sum()[None]
        # At two bits the whole of the step is taken.
        newton = TouchedNewton(table, 1.0, 2, curves, lambda total=total: total)
        read = table[:1].clone().requires_grad_()
        (weights * (c0 + c1 * read[0]) - target).square().mean().backward()
        newton.apply(
            [TouchedTexels(0, torch.tensor([0]), read)], torch.tensor(newton.begin_step(1.0)["length"]), len(target)
        )
        assert table[0].item() == pytest.approx(0.03, abs=1e-5) and table[1].item() == pytest.approx(0.2)


def test_a_newton_step_is_at_most_one_quantisation_step_and_stays_inside_the_range():
    table = torch.zeros(3, 2)
    bits = torch.tensor([2.0, 5.0])
    newton = TouchedNewton(table, 2.0, bits, torch.tensor([[0.0, 1.0, 0.0, 0.0]] * 2), lambda: torch.ones(2))
    read = torch.zeros(2, 2)
    read.grad = torch.tensor([[1e6, 1e6], [-1e6, 0.0]])
    for _ in range(40):
        before = table.clone()
        newton.apply([TouchedTexels(0, torch.tensor([0, 1]), read)], torch.tensor(2.0), 10)
        moved = (table - before).abs()
        assert (moved <= 2.0**-bits + 1e-6).all()
    _, high = clamp_range(bits)
    assert torch.equal(table[0], -high) and table[1].tolist() == [high[0].item(), 0.0]
    assert (table[2] == 0).all() and newton.state() == {}


def test_the_curvature_of_a_latent_is_that_of_the_linear_decoder_it_enters():
    texture, _ = make_texture(
        hash_grid_configs=[grid(4, 1, interpolation="gather", feature_bits=[3, 2, 2]), grid(8, 1)],
        linear_order=3,
        feature_curves=True,
        use_bias=True,
        channels=[0, 1, 2, 6],
    )
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        texture.decoder.linear.copy_(torch.randn(texture.decoder.linear.shape, generator=random))
        for curves in texture.decoder.curves:
            curves.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        texture.decoder.matrices[-1].zero_()
        texture.decoder.biases[-1].zero_()

    def decoded():
        return texture.predict([tiles(0, [(0, 0)], 16, 16)], False)

    before = decoded()
    for index, accuracy in ((0, 1e-4), (1, 0.5)):
        sums = latent_weights(texture, index)()
        for feature in range(texture.layout.grids[index].n_features):
            texture.grids.levels(index)[-1][1, 2, feature] += 1
            found = (decoded() - before).square().sum().item()
            texture.grids.levels(index)[-1][1, 2, feature] -= 1
            assert sums[feature].item() == pytest.approx(found, rel=accuracy)


def test_adam_equals_torchs():
    random = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(5, 3, generator=random), None
    theirs = ours.clone().requires_grad_()
    ours.requires_grad_()
    optimizer, reference = Adam([ours], 0.05), torch.optim.Adam([theirs], 0.05, (0.9, 0.99), eps=1e-12)
    for _ in range(20):
        ours.grad = torch.randn(5, 3, generator=random)
        theirs.grad = ours.grad.clone()
        step_one(optimizer)
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_muon_step_turns_every_matrix_towards_singular_values_near_its_length():
    shapes = [(16, 16), (64, 16), (16, 80), (1, 9), (7, 33)]
    random = torch.Generator().manual_seed(2)
    matrices = [torch.zeros(shape, requires_grad=True) for shape in shapes]
    for matrix in matrices:
        matrix.grad = 1e-4 * torch.randn(matrix.shape, generator=random)
    step_one(Muon(matrices, 0.03), 0.5)
    for matrix, (rows, cols) in zip(matrices, shapes):
        u, values, v = torch.linalg.svd(matrix.grad, full_matrices=False)
        length = 0.015 * max(1, rows / cols) ** 0.5
        turned = u.t() @ -matrix.detach() @ v.t() / length
        # The iteration lifts a singular value of a hundredth of the norm to 0.6 at least.
        kept = values / values.norm() > 0.01
        assert 0.6 < turned.diagonal()[kept].min() and turned.diagonal().max() < 1.3
        assert (turned - turned.diagonal().diag()).abs().max() < 1e-3


def test_muon_has_nesterov_momentum():
    matrix = torch.zeros(1, 1, requires_grad=True)
    optimizer = Muon([matrix], 1.0)
    matrix.grad = torch.tensor([[1.0]])
    step_one(optimizer)
    first = matrix.item()
    # A weaker gradient the other way is outweighed: 0.05 * -0.3 + 0.95 * (0.95 * 0.05 - 0.05 * 0.3) > 0.
    matrix.grad = torch.tensor([[-0.3]])
    step_one(optimizer)
    assert first < 0 and matrix.item() < first


def train(texture, optimizers, count, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        values, touched = run_tiles(texture, sample_groups(texture.layout), True, [0.001, 0.001], generator)
        (values - 0.5).square().mean().backward()
        step(optimizers, touched)


def assert_same(first, second):
    assert torch.equal(canonical_weights(first.decoder), canonical_weights(second.decoder))
    assert all(torch.equal(a, b) for a, b in zip(first.grids.tables, second.grids.tables))


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_restored_optimisers_go_on_bit_for_bit(name):
    whole, _ = make_texture(**CASES["gather"])
    optimizers = Optimizers(whole, name, 0.01)
    train(whole, optimizers, 4, 1)
    other, _ = make_texture(**CASES["gather"], seed=5)
    other.grids.load([[level.clone() for level in levels] for levels in all_levels(whole)])
    load_canonical_weights(other.decoder, canonical_weights(whole.decoder))
    restored = Optimizers(other, name, 0.01)
    restored.load_state(
        {
            member: {key: value.clone() for key, value in tensors.items()}
            for member, tensors in optimizers.state().items()
        }
    )
    train(whole, optimizers, 3, 2)
    train(other, restored, 3, 2)
    assert_same(whole, other)


def test_momentum_of_older_checkpoints_which_is_one_padded_stack_is_read():
    matrices = [torch.zeros(3, 5), torch.zeros(6, 2)]
    stack = torch.arange(2 * 3 * 6, dtype=torch.float32).view(2, 3, 6)
    optimizer = Muon(matrices, 0.1)
    optimizer.load_state({"momentum": stack})
    state = optimizer.state()
    assert torch.equal(state["momentum_0"], stack[0, :3, :5]) and torch.equal(state["momentum_1"], stack[1, :2, :6])


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_a_step_that_is_not_allowed_changes_nothing_and_an_allowed_one_all(name):
    texture, _ = make_texture(**CASES["gather"])
    optimizers = Optimizers(texture, name, 0.01)
    train(texture, optimizers, 2, 1)
    before = [tensor.detach().clone() for tensor in texture.parameters()]
    state = {
        member: {key: value.clone() for key, value in tensors.items()} for member, tensors in optimizers.state().items()
    }
    for allowed in (False, True):
        values, touched = run_tiles(texture, sample_groups(texture.layout), True)
        (values.sum() * (1 if allowed else float("nan"))).backward()
        step(optimizers, touched, allowed=torch.tensor(allowed))
        same = [torch.equal(old, new) for old, new in zip(before, texture.parameters())]
        assert not any(same) if allowed else all(same)
        for member, tensors in optimizers.state().items():
            for key, value in tensors.items():
                assert key == "count" and value.dim() == 0 or torch.equal(value, state[member][key]) != allowed
