"""The optimisers: Adam against torch's, Adam on touched texels, Muon, and their saved state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.model.plain_rendering import CASES, make_backend, sample_groups
from training.optimizers import Adam, Muon, TouchedAdam


@pytest.mark.parametrize("betas", [None, (0.9, 0.99), (0.0, 0.9)])
def test_touched_adam_equals_a_dense_adam_on_the_touched_texels_and_leaves_the_others(betas):
    random = np.random.default_rng(0)
    texels, features, lr, limits = 12, 3, 0.1, (-0.4, 0.4)
    values = torch.from_numpy(random.uniform(-0.4, 0.4, (texels, features)).astype(np.float32))
    expected = values.double().numpy().copy()
    first, second, count = np.zeros_like(expected), np.zeros_like(expected), np.zeros((texels, 1))
    optimizer = TouchedAdam(values, lr, limits, *([betas] if betas else []))
    beta1, beta2 = optimizer.betas
    for step in range(25):
        touches, total = [], np.zeros_like(expected)
        for _ in range(1 + step % 3):
            index = random.integers(0, texels - 2, 7)
            gradient = random.normal(size=(7, features)).astype(np.float32)
            np.add.at(total, index, gradient)
            touches.append((torch.from_numpy(index), torch.from_numpy(gradient)))
        rows = np.unique(np.concatenate([index.numpy() for index, _ in touches]))
        scale = 1 - step / 50
        count[rows] += 1
        first[rows] = beta1 * first[rows] + (1 - beta1) * total[rows]
        second[rows] = beta2 * second[rows] + (1 - beta2) * total[rows] ** 2
        update = (first[rows] / (1 - beta1 ** count[rows])) / np.sqrt(second[rows] / (1 - beta2 ** count[rows]))
        expected[rows] = np.clip(expected[rows] - lr * scale * update, *limits)
        optimizer.apply(touches, *map(torch.tensor, optimizer.begin_step(scale)))
        np.testing.assert_allclose(values.numpy(), expected, atol=2e-5)
    assert (count[-2:] == 0).all() and count[:-2].min() < count.max()


def step(optimizer, lr_scale=1.0):
    optimizer.apply(torch.tensor(optimizer.begin_step(lr_scale)).unbind())


def test_adam_equals_torchs():
    random = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(5, 3, generator=random), None
    theirs = ours.clone().requires_grad_()
    ours.requires_grad_()
    optimizer, reference = Adam([ours], 0.05), torch.optim.Adam([theirs], 0.05, (0.9, 0.99), eps=1e-12)
    for _ in range(20):
        ours.grad = torch.randn(5, 3, generator=random)
        theirs.grad = ours.grad.clone()
        step(optimizer)
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_muon_step_turns_every_matrix_towards_singular_values_near_its_length():
    shapes = [(16, 16), (64, 16), (16, 80), (1, 9), (7, 33)]
    random = torch.Generator().manual_seed(2)
    matrices = [torch.zeros(shape, requires_grad=True) for shape in shapes]
    for matrix in matrices:
        matrix.grad = 1e-4 * torch.randn(matrix.shape, generator=random)
    step(Muon(matrices, 0.03), 0.5)
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
    step(optimizer)
    first = matrix.item()
    # A weaker gradient the other way is outweighed: 0.05 * -0.3 + 0.95 * (0.95 * 0.05 - 0.05 * 0.3) > 0.
    matrix.grad = torch.tensor([[-0.3]])
    step(optimizer)
    assert first < 0 and matrix.item() < first


@pytest.mark.parametrize("kind", ["muon", "adam"])
def test_restored_optimisers_go_on_bit_for_bit(kind):
    def steps(backend, count, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            values = backend.predict(sample_groups(backend.layout), True, [0.001, 0.001], generator)
            (values - 0.5).square().mean().backward()
            backend.step(1.0)

    whole, _ = make_backend(**CASES["gather"])
    whole.make_optimizers(kind, 0.01)
    steps(whole, 4, 1)
    other, _ = make_backend(**CASES["gather"], seed=5)
    other.make_optimizers(kind, 0.01)
    other.load_grids([[level.clone() for level in levels] for levels in whole.grids])
    other.load_network(whole.network())
    other.load_optimizer_state({name: {key: value.clone() for key, value in tensors.items()}
                                for name, tensors in whole.optimizer_state().items()})
    for backend in (whole, other):
        steps(backend, 3, 2)
    assert torch.equal(whole.network(), other.network())
    assert all(torch.equal(a, b) for ours, theirs in zip(whole.grids, other.grids) for a, b in zip(ours, theirs))
