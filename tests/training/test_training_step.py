"""The training step through static buffers and as a CUDA graph equals the step that runs operation by operation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from configs import N_CHANNELS, PRESETS, Config, config_from_dict
from dataset import TextureSet
from images.mips import mip_count, mip_size
from model.backends.torch_backend import TorchBackend
from model.decoder.canonical import canonical_weights
from model.grids.lookup import arrays_of
from model.texture import NeuralTexture
from training.cuda_graphs import CudaGraphs, StaticInputs
from training.optimizers import Optimizers
from training.session import open_session
from training.training_step import TrainingStep

STEPS = 24
CASES = {
    "quality": (64, 64, PRESETS["quality"]),
    "int8, adam": (
        64,
        64,
        {"model": PRESETS["quality"]["model"] | {"network_precision": "int8"}, "train": {"optimizer": "adam"}},
    ),
    "ue5": (64, 64, {}),
    "no rounding": (64, 64, {"quantize": {"quantize": False}}),
    "odd sizes": (60, 36, PRESETS["quality"]),
    "clamped": (64, 64, {"model": PRESETS["quality"]["model"] | {"wrap": False}, "quantize": {"noise_std": 1.0}}),
    "clamped, odd": (44, 60, {"model": {"wrap": False, "n_frequencies": 2}}),
    "weights": (32, 32, {"train": {"texture_loss_weights": {"normal": 2.0}}}),
}


class Rerun(CudaGraphs):
    """The host's part of `CudaGraphs`: what is recorded runs again, on the same buffers."""

    def __init__(self, fails_at: int = -1) -> None:
        self.calls, self.fails_at = [], fails_at

    def fill(self, inputs, arrays):
        inputs.pack(arrays, inputs.buffer.numpy())

    def warm_up(self, run):
        self.calls.append("run")
        run()

    def record(self, run):
        self.calls.append("record")
        if self.calls.count("record") - 1 == self.fails_at:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

        def replay():
            self.calls.append("replay")
            run()

        return replay


def make_session(name, device="cpu"):
    width, height, settings = CASES[name]
    random = np.random.default_rng(0)
    mips = [
        random.integers(0, 256, (*reversed(mip_size(width, height, mip)), N_CHANNELS), np.uint8)
        for mip in range(mip_count(width, height))
    ]
    names = ("diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement")
    texture_set = TextureSet("noise", width, height, mips, dict.fromkeys(names, True), "opengl", {}, [])
    train = {
        "device": device,
        "backend": "torch",
        "precision": "float32",
        "batch_size": 1024,
        "tile_size": 8,
        "mip_floor": 0.2,
    }
    config = config_from_dict(settings | {"train": train | settings.get("train", {})}, Config())
    return open_session(config, texture_set)


def make_step(session, capture):
    step = session.training_step(graphs=False)
    step.capture = capture
    return step


def run(session, step, steps=STEPS, first=0):
    losses = []
    for number in range(first, first + steps):
        fraction = number / STEPS
        losses.append(step(session.sampler.draw(), session.noise(fraction), 1 - 0.5 * fraction).item())
    return losses


def state(session):
    """Everything that training moves on."""
    tensors = {"network": canonical_weights(session.texture.decoder), "noise": session.noise_generator.get_state()}
    for index, table in enumerate(session.texture.grids.tables):
        tensors[f"table {index}"] = table.detach()
    for name, optimizer in session.training_state().items():
        tensors |= {f"{name} {key}": value for key, value in optimizer.items()}
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert not [name for name in expected if not torch.equal(found[name], expected[name])]


@pytest.mark.parametrize("name", CASES)
def test_steps_through_static_buffers_give_the_parameters_of_eager_steps_bit_for_bit(name):
    eager, buffered, capture = make_session(name), make_session(name), Rerun()
    expected = run(eager, make_step(eager, None))
    step = make_step(buffered, capture)
    assert run(buffered, step) == expected
    assert_equal(state(buffered), state(eager))
    signatures = len(step.captured)
    assert capture.calls.count("run") == signatures and capture.calls.count("replay") == STEPS - signatures
    assert 1 < capture.calls.count("record") <= signatures and capture.calls.count("replay") > STEPS // 2


def test_the_noise_that_ends_makes_another_signature():
    session, capture = make_session("ue5"), Rerun()
    step = make_step(session, capture)
    run(session, step)
    assert {noisy for _, noisy in step.captured} == {(True, True), (False, False)}


def test_a_batch_beyond_the_last_graph_runs_as_it_is(monkeypatch):
    monkeypatch.setattr("training.training_step.MAX_GRAPHS", 1)
    eager, buffered = make_session("ue5"), make_session("ue5")
    assert run(buffered, step := make_step(buffered, Rerun())) == run(eager, make_step(eager, None))
    assert len(step.captured) == 1
    assert_equal(state(buffered), state(eager))


@pytest.mark.parametrize("fails_at", [0, 2])
def test_a_capture_that_fails_is_said_once_and_training_goes_on_as_if_it_had_not_been_tried(fails_at, capsys):
    eager, buffered, capture = make_session("ue5"), make_session("ue5"), Rerun(fails_at)
    step = make_step(buffered, capture)
    assert run(buffered, step) == run(eager, make_step(eager, None))
    assert_equal(state(buffered), state(eager))
    assert capture.calls.count("record") == fails_at + 1 and capture.calls[-1] == "record"
    assert step.capture is None and not step.captured
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert len(notes) == 1 and "operation not permitted when stream is capturing" in notes[0]


def test_a_capture_that_fails_half_way_leaves_no_gradients():
    class HalfWay(Rerun):
        def record(self, run):
            session.optimizers.apply = lambda *_: (_ for _ in ()).throw(RuntimeError("cannot"))
            try:
                run()
            finally:
                del session.optimizers.apply
                assert session.texture.decoder.matrices[0].grad is not None

    eager, session = make_session("quality"), make_session("quality")
    assert run(session, make_step(session, HalfWay())) == run(eager, make_step(eager, None))
    assert_equal(state(session), state(eager))


def test_packed_arrays_come_back_as_they_were():
    random = np.random.default_rng(0)
    arrays = [
        random.integers(0, 99, (3, 5)),
        random.random((7, 1, 2)).astype(np.float32),
        np.arange(4)[::-1],
        np.ones((2, 0, 3), np.float32),
    ]
    inputs = StaticInputs(arrays, torch.device("cpu"))
    addresses = [tensor.data_ptr() for tensor in inputs.tensors]
    for factor in (1, 2):
        scaled = [array * factor for array in arrays]
        inputs.pack(scaled, inputs.buffer.numpy())
        for tensor, array in zip(inputs.tensors, scaled, strict=True):
            assert tensor.numpy().dtype == array.dtype and np.array_equal(tensor.numpy(), array)
    assert addresses == [tensor.data_ptr() for tensor in inputs.tensors]


@pytest.mark.parametrize("name", CASES)
def test_the_devices_part_of_a_step_looks_at_no_value_and_makes_no_tensor_on_the_host(name):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
            result = operation(*arguments, **(keywords or {}))
            tensors = [tensor for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)]
            assert all(tensor.device.type == "meta" for tensor in tensors) and "local_scalar" not in str(operation)
            assert "lift_fresh" not in str(operation), "a number is copied from the host"
            return result

    session, meta = make_session(name), torch.device("meta")
    settings = session.config.train
    texture = NeuralTexture(session.layout, session.channels, meta, torch.Generator().manual_seed(0))
    optimizers = Optimizers(texture, settings.optimizer, settings.learning_rate)
    noise = session.noise(0.0) or []
    weights = None if session.loss_weights is None else session.loss_weights.to(meta)
    step = TrainingStep(
        TorchBackend(texture, "float32"),
        optimizers,
        session.sampler.texels.to(meta),
        None,
        quantize=session.config.quantize.quantize,
        linear_diffuse=session.linear_diffuse,
        loss_weights=weights,
    )
    batch = session.sampler.draw()
    lookups = texture.planner.look_up(batch.groups)
    numbers = optimizers.begin_step(1.0) | {f"noise_{grid}": amplitude for grid, amplitude in enumerate(noise)}
    arrays = [
        *arrays_of(lookups),
        batch.targets,
        *([] if batch.texel_weights is None else [batch.texel_weights]),
        np.array([*numbers.values()], np.float32),
    ]
    captured = step._static_batch(arrays, lookups, batch, list(numbers), tuple(amplitude > 0 for amplitude in noise))
    with Watch():
        step._run(captured)
    assert texture.decoder.matrices[0].grad is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", CASES)
def test_captured_steps_give_the_parameters_of_eager_ones_on_the_gpu(name):
    eager, captured = make_session(name, "cuda"), make_session(name, "cuda")
    step = captured.training_step()
    losses, expected = run(captured, step), run(eager, eager.training_step(graphs=False))
    assert step.capture is not None and any(captured.replay for captured in step.captured.values())
    np.testing.assert_allclose(losses, expected, rtol=2e-2)
    ours, theirs = state(captured), state(eager)
    assert torch.equal(ours.pop("noise"), theirs.pop("noise"))
    # Sums on a GPU come in any order, and rounding makes whole steps of their last bits.
    for name in ("network", *(key for key in theirs if key.startswith("table"))):
        assert (ours[name] - theirs[name]).norm() <= 0.05 * theirs[name].norm(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_replayed_step_never_waits_for_the_gpu():
    session = make_session("ue5", "cuda")
    step, batch = session.training_step(), session.sampler.draw()
    for mode in ("default", "default", "error", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            loss = step(batch, session.noise(0.0), 1.0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(captured.replay for captured in step.captured.values()) and loss.isfinite()


@pytest.mark.parametrize(
    "device, captures, graphs, failed, captured",
    [
        ("cuda", True, True, False, True),
        ("cpu", True, True, False, False),
        ("cuda", False, True, False, False),
        ("cuda", True, False, False, False),
        ("cuda", True, True, True, False),
    ],
)
def test_a_step_is_captured_on_cuda_by_a_backend_that_can_unless_it_failed_before(
    device, captures, graphs, failed, captured, monkeypatch, capsys
):
    class Graphs(Rerun):
        def __init__(self, device):
            super().__init__()

    Graphs.failed = failed
    monkeypatch.setattr("training.session.CudaGraphs", Graphs)
    session = make_session("ue5")
    session.device = torch.device(device)
    monkeypatch.setattr(session.backend, "captures", captures, raising=False)
    assert isinstance(session.training_step(graphs).capture, Graphs) == captured
    assert ("without CUDA graphs" in capsys.readouterr().out) == failed
