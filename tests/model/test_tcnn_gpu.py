"""The tiny-cuda-nn backend on a GPU: parity with the torch backend, its networks, checkpoints and steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model.grids.geometry import TileGroup

from configs import ModelConfig
from model.backends.tcnn_backend import TcnnBackend, tinycudann_problem
from model.backends.torch_backend import TorchBackend
from model.layout import model_layout
from tests.model.test_tcnn import BILINEAR, GATHER, close

needs_tcnn = pytest.mark.skipif(
    not torch.cuda.is_available() or bool(tinycudann_problem()),
    reason="needs an NVIDIA GPU" if not torch.cuda.is_available() else f"needs tiny-cuda-nn: {tinycudann_problem()}")

MODELS = {"bilinear": ModelConfig(hash_grid_configs=BILINEAR),
          "clamped": ModelConfig(hash_grid_configs=BILINEAR, wrap=False, n_frequencies=2, n_neurons=64,
                                 output_activation="hard_swish"),
          "gather": ModelConfig(hash_grid_configs=GATHER, n_hidden_layers=2),
          "layers in torch": ModelConfig(hash_grid_configs=GATHER, activation="gelu", use_bias=True, n_neurons=32),
          "linear": ModelConfig(hash_grid_configs=BILINEAR, n_hidden_layers=0),
          "silu": ModelConfig(hash_grid_configs=BILINEAR, activation="silu", n_neurons=32),
          "tanh": ModelConfig(hash_grid_configs=BILINEAR, activation="tanh", n_neurons=32)}
DECODERS = {"linear": "CutlassMLP", "silu": "CutlassMLP", "layers in torch": "in torch"}
"""What runs the models' decoders in half precision, FullyFusedMLP if nothing else is said."""
SIZES = [(64, 64), (48, 20)]
CHANNELS = [0, 1, 2, 3, 4, 5, 6]


def pair(name, size, precision):
    layout = model_layout(MODELS[name], *size)
    device = torch.device("cuda")
    reference = TorchBackend(layout, CHANNELS, device, "float32", torch.Generator().manual_seed(0))
    other = TcnnBackend(layout, CHANNELS, device, precision, torch.Generator().manual_seed(1))
    other.load_grids(reference.grids)
    other.load_network(reference.network())
    for backend in (reference, other):
        backend.make_optimizers("muon", 0.03)
    return reference, other


def border_tiles(layout, mip):
    """Tiles at both ends and, on a wrapping material, across the border."""
    width, height = max(layout.width >> mip, 1), max(layout.height >> mip, 1)
    tile_w, tile_h = min(8, width), min(8, height)
    across = 2 if layout.wrap else 1
    x = np.array([[0], [width - tile_w], [width - tile_w // across]]) + np.arange(tile_w)
    y = np.array([[0], [height - tile_h], [height - tile_h // across]]) + np.arange(tile_h)
    return [TileGroup(mip, x, y)]


def gradients(backend, groups):
    """Output, decoder gradients and dense grid gradients of one pass."""
    values = backend.predict(groups, True)
    # Of one sign, so that tiny-cuda-nn's sums in half precision do not cancel.
    (values * torch.linspace(0.5, 1.5, values.numel(), device=values.device).view_as(values)).mean().backward()
    decoder = [matrix.grad for matrix in backend.matrices]
    grids = {}
    for grid, touches in backend._touches.items():
        grids[grid] = torch.zeros_like(backend.tables[grid])
        for index, slab in touches:
            grids[grid].index_add_(0, index, slab.grad)
    return values.detach(), decoder, grids


@needs_tcnn
@pytest.mark.parametrize("precision, tolerance", [("float32", 2e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_shared_weights_give_equal_outputs_and_gradients_on_both_backends(name, size, precision, tolerance):
    layout = model_layout(MODELS[name], *size)
    for mip in range(layout.mips):
        reference, other = pair(name, size, precision)
        expected, found = (gradients(backend, border_tiles(layout, mip)) for backend in (reference, other))
        assert close(found[0], expected[0], tolerance), f"values of mip {mip}"
        assert all(close(a, b, 2 * tolerance) for a, b in zip(found[1], expected[1])), f"decoder of mip {mip}"
        assert found[2].keys() == expected[2].keys()
        assert all(close(found[2][key], expected[2][key], 2 * tolerance) for key in expected[2]), f"grids of mip {mip}"
        assert all(gradient.abs().sum() > 0 for gradient in [*found[1], *found[2].values()])


@needs_tcnn
@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_runs_in_the_network_that_it_is_meant_for(name):
    backend = pair(name, SIZES[0], "bfloat16")[1]
    assert backend.decoder_note.startswith(f"decoder {DECODERS.get(name, 'FullyFusedMLP')}"), backend.decoder_note


@needs_tcnn
@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_move_both_ways_and_training_goes_on(name):
    reference, other = pair(name, SIZES[0], "bfloat16")
    for source, target in ((reference, other), (other, reference)):
        for backend in (source, target):
            gradients(backend, border_tiles(backend.layout, 0))
            backend.step(1.0)
        target.load_grids(source.grids)
        target.load_network(source.network())
        target.load_optimizer_state(source.optimizer_state())
        assert torch.equal(target.network(), source.network())
        assert torch.equal(target.decode(0), source.decode(0))
        for key, tensors in target.optimizer_state().items():
            for part, tensor in tensors.items():
                assert key == "loss_scale" or torch.equal(tensor, source.optimizer_state()[key][part])
        gradients(target, border_tiles(target.layout, 1))
        target.step(1.0)
        assert not torch.equal(target.network(), source.network())


@needs_tcnn
def test_a_step_whose_gradients_are_not_finite_changes_nothing_but_the_loss_scale():
    _, backend = pair("bilinear", SIZES[0], "bfloat16")
    network, grids = backend.network(), [[level.clone() for level in levels] for levels in backend.grids]
    scale = backend.loss_scale.scale.item()
    (backend.predict(border_tiles(backend.layout, 0), True).sum() * float("inf")).backward()
    backend.step(1.0)
    assert torch.equal(backend.network(), network)
    assert all(torch.equal(a, b) for x, y in zip(backend.grids, grids) for a, b in zip(x, y))
    assert backend.loss_scale.scale.item() == scale / 2


@needs_tcnn
def test_a_step_in_tiny_cuda_nn_never_waits_for_the_gpu():
    _, backend = pair("bilinear", SIZES[0], "bfloat16")
    gradients(backend, border_tiles(backend.layout, 0))
    backend.step(1.0)
    noise = torch.Generator("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = backend.predict(border_tiles(backend.layout, 0), True, [0.01, 0.01], noise)
        values.square().mean().backward()
        backend.step(1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert values.isfinite().all()
