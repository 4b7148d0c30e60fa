"""The tiny-cuda-nn backend on a GPU: parity with the torch backend, its networks, checkpoints and steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs import ModelConfig
from model.backends.tcnn_backend import TcnnBackend, tinycudann_problem
from model.backends.torch_backend import TorchBackend
from model.decoder.canonical import canonical_weights, load_canonical_weights
from model.grids.tiles import TileGroup
from model.layout import model_layout
from model.texture import NeuralTexture
from tests.model.plain_rendering import all_levels, grid_gradients, run_tiles
from tests.model.test_tcnn import BILINEAR, GATHER, close
from training.optimizers import Optimizers

needs_tcnn = pytest.mark.skipif(
    not torch.cuda.is_available() or bool(tinycudann_problem()),
    reason="needs an NVIDIA GPU" if not torch.cuda.is_available() else f"needs tiny-cuda-nn: {tinycudann_problem()}",
)

MODELS = {
    "bilinear": ModelConfig(hash_grid_configs=BILINEAR),
    "clamped": ModelConfig(
        hash_grid_configs=BILINEAR, wrap=False, n_frequencies=2, n_neurons=64, output_activation="hard_swish"
    ),
    "gather": ModelConfig(hash_grid_configs=GATHER, n_hidden_layers=2),
    "layers in torch": ModelConfig(hash_grid_configs=GATHER, activation="gelu", use_bias=True, n_neurons=32),
    "linear": ModelConfig(hash_grid_configs=BILINEAR, n_hidden_layers=0),
    "silu": ModelConfig(hash_grid_configs=BILINEAR, activation="silu", n_neurons=32),
    "tanh": ModelConfig(hash_grid_configs=BILINEAR, activation="tanh", n_neurons=32),
}
DECODERS = {"linear": "CutlassMLP", "silu": "CutlassMLP", "layers in torch": "in torch"}
"""What runs the models' decoders in half precision, FullyFusedMLP if nothing else is said."""
SIZES = [(64, 64), (48, 20)]
CHANNELS = [0, 1, 2, 3, 4, 5, 6]


class Trained:
    """A backend with its texture and optimisers."""

    def __init__(self, layout, kind, precision, seed):
        self.texture = NeuralTexture(layout, CHANNELS, torch.device("cuda"), torch.Generator().manual_seed(seed))
        self.backend = kind(self.texture, precision)
        self.optimizers = Optimizers(self.texture, "muon", 0.03)

    def take(self, other):
        self.texture.grids.load(all_levels(other.texture))
        load_canonical_weights(self.texture.decoder, other.weights())

    def weights(self):
        return canonical_weights(self.texture.decoder)

    def state(self):
        return {**self.optimizers.state(), **self.backend.state()}

    def step(self, touched):
        numbers = self.optimizers.begin_step(1.0)
        values = torch.tensor(list(numbers.values())).pin_memory().to("cuda", non_blocking=True).unbind()
        self.optimizers.apply(
            dict(zip(numbers, values)), touched, 1000, self.backend.judge(self.optimizers.gradients(touched))
        )


def pair(name, size, precision):
    layout = model_layout(MODELS[name], *size)
    reference, other = Trained(layout, TorchBackend, "float32", 0), Trained(layout, TcnnBackend, precision, 1)
    other.take(reference)
    return reference, other


def border_tiles(layout, mip):
    """Tiles at both ends and, on a wrapping material, across the border."""
    width, height = max(layout.width >> mip, 1), max(layout.height >> mip, 1)
    tile_w, tile_h = min(8, width), min(8, height)
    across = 2 if layout.wrap else 1
    x = np.array([[0], [width - tile_w], [width - tile_w // across]]) + np.arange(tile_w)
    y = np.array([[0], [height - tile_h], [height - tile_h // across]]) + np.arange(tile_h)
    return [TileGroup(mip, x, y)]


def passes(trained, groups):
    """Output and touched texels of a forward and a backward pass."""
    values, touched = run_tiles(trained.backend, groups, True)
    # Of one sign, so that tiny-cuda-nn's sums in half precision do not cancel.
    (values * torch.linspace(0.5, 1.5, values.numel(), device=values.device).view_as(values)).mean().backward()
    return values.detach(), touched


@needs_tcnn
@pytest.mark.parametrize("precision, tolerance", [("float32", 2e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_shared_weights_give_equal_outputs_and_gradients_on_both_backends(name, size, precision, tolerance):
    layout = model_layout(MODELS[name], *size)
    for mip in range(layout.mips):
        results = []
        for trained in pair(name, size, precision):
            values, touched = passes(trained, border_tiles(layout, mip))
            grids = [level for levels in grid_gradients(trained.texture, touched) for level in levels]
            results.append((values, [matrix.grad for matrix in trained.texture.decoder.matrices], grids))
        expected, found = results
        assert close(found[0], expected[0], tolerance), f"values of mip {mip}"
        assert all(close(a, b, 2 * tolerance) for a, b in zip(found[1], expected[1])), f"decoder of mip {mip}"
        assert all(close(a, b, 2 * tolerance) for a, b in zip(found[2], expected[2])), f"grids of mip {mip}"
        assert all(gradient.abs().sum() > 0 for gradient in found[1])
        assert sum(bool(gradient.any()) for gradient in found[2]) == len(layout.grids)


@needs_tcnn
@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_runs_in_the_network_that_it_is_meant_for(name):
    backend = pair(name, SIZES[0], "bfloat16")[1].backend
    assert backend.network_note.startswith(f"decoder {DECODERS.get(name, 'FullyFusedMLP')}"), backend.network_note


@needs_tcnn
@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_move_both_ways_and_training_goes_on(name):
    reference, other = pair(name, SIZES[0], "bfloat16")
    layout = reference.texture.layout
    for source, target in ((reference, other), (other, reference)):
        for trained in (source, target):
            trained.step(passes(trained, border_tiles(layout, 0))[1])
        target.take(source)
        target.optimizers.load_state(source.state())
        target.backend.load_state(source.state())
        assert torch.equal(target.weights(), source.weights())
        assert torch.equal(target.texture.decode(0), source.texture.decode(0))
        for member, tensors in target.optimizers.state().items():
            for name, tensor in tensors.items():
                assert torch.equal(tensor, source.state()[member][name])
        target.step(passes(target, border_tiles(layout, 1))[1])
        assert not torch.equal(target.weights(), source.weights())


@needs_tcnn
def test_a_step_whose_gradients_are_not_finite_changes_nothing_but_the_loss_scale():
    _, trained = pair("bilinear", SIZES[0], "bfloat16")
    weights, grids = trained.weights(), [[level.clone() for level in levels] for levels in all_levels(trained.texture)]
    scale = trained.backend.loss_scale.scale.item()
    values, touched = run_tiles(trained.backend, border_tiles(trained.texture.layout, 0), True)
    (values.sum() * float("inf")).backward()
    trained.step(touched)
    assert torch.equal(trained.weights(), weights)
    assert all(torch.equal(a, b) for x, y in zip(all_levels(trained.texture), grids) for a, b in zip(x, y))
    assert trained.backend.loss_scale.scale.item() == scale / 2


@needs_tcnn
def test_a_step_in_tiny_cuda_nn_never_waits_for_the_gpu():
    _, trained = pair("bilinear", SIZES[0], "bfloat16")
    tiles = border_tiles(trained.texture.layout, 0)
    trained.step(passes(trained, tiles)[1])
    noise = torch.Generator("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        values, touched = run_tiles(trained.backend, tiles, True, [0.01, 0.01], noise)
        values.square().mean().backward()
        trained.step(touched)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert values.isfinite().all()
