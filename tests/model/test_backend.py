"""Choosing device, backend and precision, the doctor, and the benchmark's plain trainer and command."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu import train_ours
from benchmarks.gpu_table import seconds_to_psnr
from benchmarks.plain_trainer import PlainTexture, train_plain
from configs import PRESETS, ModelConfig, config_from_dict
from dataset import TextureSet, get_texture_config
from model.backends.choose import choose_device, choose_precision, make_backend, usable_backends
from model.backends.torch_backend import TorchBackend
from model.decoder.canonical import canonical_weights
from model.doctor import architectures, tcnn_commands, torch_commands, wheel_tag
from model.grids.tiles import TileGroup
from model.layout import model_layout
from model.precision import full_float32
from model.texture import NeuralTexture
from tests.helpers import make_material
from tests.model.plain_rendering import all_levels, run_tiles
from training.backend_trial import faster_backend
from training.optimizers import Optimizers
from training.session import open_session
from utils.errors import UsageError, UserError

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
LAYOUT, WIDE = (model_layout(ModelConfig(n_neurons=width), 64, 64) for width in (16, 64))
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="tests the absence of an NVIDIA GPU, one is here")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a module of the repository in a process of its own."""
    import os

    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def material(width: int, height: int) -> TextureSet:
    """A small set with a diffuse map and a roughness map of smooth waves."""
    config = get_texture_config()
    present = {kind.name: kind.name in ("diffuse", "roughness") for kind in config}
    mips = []
    while True:
        y, x = np.mgrid[:height, :width]
        image = np.zeros((height, width, 11), np.uint8)
        for channel in (0, 1, 2, 6):
            wave = np.sin(2 * math.pi * ((x + 0.5) / width + channel / 5)) * np.cos(2 * math.pi * (y + 0.5) / height)
            image[..., channel] = (127 + 100 * wave).astype(np.uint8)
        mips.append(image)
        if min(width, height) == 1:
            break
        width, height = max(width // 2, 1), max(height // 2, 1)
    return TextureSet(
        name="waves",
        width=mips[0].shape[1],
        height=mips[0].shape[0],
        mips=mips,
        present=present,
        normal_convention="opengl",
        files={},
        notices=[],
    )


def test_auto_takes_the_best_device_there_is():
    mps = torch.backends.mps.is_available()
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    assert choose_device("cpu") == CPU


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_asking_for_cuda_without_a_gpu_is_an_error_that_says_how_to_get_it(name):
    with pytest.raises(UserError, match="model.doctor") as error:
        choose_device(name)
    assert name in str(error.value) and "\n" not in str(error.value) and error.value.exit_code == 1


@needs_cuda
def test_a_gpu_that_is_not_there_is_refused_by_number():
    with pytest.raises(UserError, match="the last one is cuda:"):
        choose_device("cuda:99")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="an Apple GPU is here")
def test_asking_for_mps_elsewhere_is_an_error():
    with pytest.raises(UserError, match="Apple GPU"):
        choose_device("mps")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:", "cuda:x", "auto:1", ""])
def test_an_unknown_device_is_a_usage_error(name):
    with pytest.raises(UsageError, match="choose auto, cpu, cuda or mps"):
        choose_device(name)


def test_auto_falls_back_to_torch_on_the_cpu_and_says_why():
    names, why = usable_backends("auto", CPU, LAYOUT)
    assert names == ["torch"] and "needs device cuda" in why and "\n" not in why


def test_a_backend_asked_for_by_name_needs_no_explanation():
    assert usable_backends("torch", CPU, LAYOUT) == (["torch"], "")


def test_asking_for_tcnn_on_the_cpu_is_an_error_with_a_cure():
    with pytest.raises(UserError, match="needs device cuda.*model.doctor.*--backend torch"):
        usable_backends("tcnn", CPU, LAYOUT)


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"use_bias": True}, "no biases"),
        (PRESETS["quality"]["model"], "no linear decoder"),
        ({"hash_grid_configs": [{"feature_bits": [8, 8, 2]}]}, "or mixed bits"),
        ({"activation": "gelu"}, "no gelu"),
        ({"activation": "softplus"}, "overflows"),
    ],
)
def test_auto_leaves_a_model_to_pytorch_whose_decoder_tiny_cuda_nn_cannot_run(settings, reason):
    layout = model_layout(config_from_dict({"model": settings}).model, 64, 64)
    names, why = usable_backends("auto", torch.device("cuda"), layout)
    assert names == ["torch"] and reason in why and "CUDA graphs" in why


def test_the_faster_backend_is_taken_and_one_that_fails_is_out(monkeypatch):
    monkeypatch.setattr("training.backend_trial.TRIAL_S", 0.05)
    config, texture_set = config_from_dict({"train": {"batch_size": 512, "device": "cpu"}}), material(32, 32)

    def open_with(name):
        return open_session(
            dataclasses.replace(config, train=dataclasses.replace(config.train, backend=name)), texture_set
        )

    name, why = faster_backend(["torch", "tcnn"], config, open_with)
    assert (
        name == "torch" and why.startswith("torch: ") and "steps/s" in why and "tcnn fails: backend tcnn cannot" in why
    )
    rates = {"torch": 10.0, "tcnn": 20.0}
    monkeypatch.setattr("training.backend_trial._faster", {})
    monkeypatch.setattr("training.backend_trial._steps_per_second", lambda name: rates[name])
    for _ in range(2):
        assert faster_backend(["torch", "tcnn"], config, lambda name: name) == ("tcnn", "tcnn: 20 steps/s, torch 10")
        rates["torch"] = 99.0


def test_an_unknown_backend_is_a_usage_error():
    with pytest.raises(UsageError, match="choose auto, torch or tcnn"):
        usable_backends("tensorflow", CPU, LAYOUT)


@pytest.mark.parametrize(
    "body, reason",
    [
        ("raise EnvironmentError('Unknown compute capability. Ensure CUDA support is installed.')", "no NVIDIA"),
        ("raise OSError('Could not find compatible tinycudann extension for compute capability 89.')", "other GPUs"),
        ("raise RuntimeError('CUDA driver version is insufficient')", "driver version"),
        ("raise ImportError('undefined symbol: x')", "another PyTorch"),
    ],
)
def test_a_tinycudann_that_fails_to_import_makes_auto_fall_back_and_tcnn_an_error(tmp_path, body, reason):
    (tmp_path / "tinycudann.py").write_text(body)
    code = (
        "import torch\nfrom configs import ModelConfig\nfrom model.backends.choose import usable_backends\n"
        "from model.layout import model_layout\nfrom utils.errors import UserError\n"
        "layout, cuda = model_layout(ModelConfig(), 64, 64), torch.device('cuda')\n"
        "print(usable_backends('auto', cuda, layout))\n"
        "try:\n    usable_backends('tcnn', cuda, layout)\n"
        "except UserError as error:\n    print('refused:', error)\n"
    )
    done = run("-c", code, PYTHONPATH=str(tmp_path))
    auto, refused = done.stdout.splitlines()
    assert auto.startswith("(['torch']") and reason in auto
    assert refused.startswith("refused:") and reason in refused and "--backend torch" in refused


def test_auto_precision_is_bfloat16_only_where_the_device_is_fast_at_it():
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    probes = (getattr(torch.cpu, name, lambda: False) for name in names)
    assert choose_precision("auto", CPU, WIDE) == ("bfloat16" if any(probe() for probe in probes) else "float32")
    assert choose_precision("auto", CPU, LAYOUT) == "float32", "narrow decoders gain nothing"
    assert choose_precision("auto", torch.device("mps"), WIDE) == "float32"


def test_a_precision_asked_for_is_kept_and_an_unknown_one_refused():
    for name in ("float32", "bfloat16"):
        assert choose_precision(name, CPU, LAYOUT) == name
    with pytest.raises(UsageError, match="choose auto, float32 or bfloat16"):
        choose_precision("float16", CPU, LAYOUT)


def test_the_same_seed_makes_the_same_backend():
    first, second = (
        make_backend("torch", NeuralTexture(LAYOUT, [0, 1, 2], CPU, torch.Generator().manual_seed(4)), "float32")
        for _ in range(2)
    )
    weights = [canonical_weights(backend.texture.decoder) for backend in (first, second)]
    assert type(first) is TorchBackend and torch.equal(*weights) and weights[0].abs().sum() > 0


def test_full_float32_holds_inside_and_is_undone_after_an_error():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(ZeroDivisionError), full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            raise ZeroDivisionError
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@needs_cuda
@pytest.mark.parametrize("preset", PRESETS)
def test_a_training_step_in_torch_never_waits_for_the_gpu(preset):
    layout = model_layout(config_from_dict(PRESETS[preset]).model, 64, 64)
    texture = NeuralTexture(layout, [0, 1, 2], torch.device("cuda"), torch.Generator())
    backend, optimizers = make_backend("torch", texture, "bfloat16"), Optimizers(texture, "muon", 0.03)
    numbers = {name: torch.tensor(value, device="cuda") for name, value in optimizers.begin_step(1.0).items()}
    noise = torch.Generator("cuda")
    group = TileGroup(0, np.arange(16)[None], np.arange(16)[None])
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            values, touched = run_tiles(backend, [group], True, [0.01] * len(layout.grids), noise)
            values.square().mean().backward()
            optimizers.apply(numbers, touched, values.numel())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert values.isfinite().all()


@needs_cuda
def test_cuda_gives_the_values_and_gradients_of_the_cpu():
    results = []
    for device in (CPU, torch.device("cuda")):
        texture = NeuralTexture(LAYOUT, [0, 1, 2], device, torch.Generator().manual_seed(0))
        values, _ = run_tiles(texture, [TileGroup(1, np.arange(28, 40)[None], np.arange(9)[None])], True)
        values.square().mean().backward()
        results.append([values.detach().cpu(), *(matrix.grad.cpu() for matrix in texture.decoder.matrices)])
    for found, expected in zip(results[1], results[0]):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-2)


def test_the_doctor_says_what_is_there_what_is_missing_and_how_to_get_it():
    done = run("-m", "model.doctor")
    assert done.returncode == 0, done.stderr
    titles = {line.partition(":")[0] for line in done.stdout.splitlines()}
    assert {
        "Python",
        "system",
        "GPU (driver)",
        "PyTorch",
        "GPU (PyTorch)",
        "nvcc",
        "C++ compiler",
        "tinycudann",
        "can train",
    } <= titles
    assert f"{torch.__version__}" in done.stdout
    values = list(done.stdout.split("\n\n")[0].splitlines())
    assert {line[20] for line in values} == {" "} and all(line[21] != " " for line in values), "values are aligned"


@without_cuda
def test_the_doctor_without_a_gpu_prints_the_commands_for_windows_and_linux():
    text = run("-m", "model.doctor").stdout
    for words in (
        "missing cuda:",
        "missing tinycudann:",
        "vcvars64.bat",
        "--index-url https://download.pytorch.org/whl/cu",
        "set TCNN_CUDA_ARCHITECTURES=75;86;89",
        'export TCNN_CUDA_ARCHITECTURES="75;86;89"',
        "github.com/NVlabs/tiny-cuda-nn",
        "--no-build-isolation",
        "backend torch",
    ):
        assert words in text


def test_the_doctor_prints_json_that_says_the_same():
    done = run("-m", "model.doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["can_train"] is True
    assert report["found"]["PyTorch"].startswith(torch.__version__)
    assert ("cuda" in report["problems"]) == (not torch.cuda.is_available())
    assert report["uses"]["device"] == choose_device("auto").type


def test_the_doctor_names_the_reason_of_a_broken_tinycudann(tmp_path):
    (tmp_path / "tinycudann.py").write_text(
        "raise OSError('Could not find compatible tinycudann extension for compute capability 89.')"
    )
    report = json.loads(run("-m", "model.doctor", "--json", PYTHONPATH=str(tmp_path)).stdout)
    assert "built for other GPUs" in report["problems"]["tinycudann"] and report["found"]["tinycudann"] == "installed"


def test_the_doctor_without_pytorch_says_it_cannot_train_and_fails(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no such library')")
    done = run("-m", "model.doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1 and "no such library" in done.stdout and "Traceback" not in done.stderr
    assert "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu" in done.stdout


def test_the_build_commands_follow_the_gpu_the_system_and_pytorch():
    assert architectures(["12.0", "8.9"]) == "89;120"
    linux, windows = (tcnn_commands(system, "89", "12.8", "") for system in (False, True))
    assert "/usr/local/cuda-12.8/bin" in linux[0] and "vcvars64.bat" in windows[0] and linux[-1] == windows[-1]
    assert not any("torch<" in line for line in linux + windows)
    newer = tcnn_commands(False, "89", "13.2", "cu130")
    assert [line for line in newer if "torch<2.13" in line and line.endswith("/cu130")] and newer[-2:] == linux[-2:]


@pytest.mark.parametrize(
    "driver, capabilities, tag",
    [
        (None, [], "cu130"),
        ("12.4", ["8.6"], "cu126"),
        ("12.9", ["12.0"], "cu128"),
        ("13.2", ["7.5", "9.0"], "cu130"),
        ("13.0", ["6.1", "8.9"], "cu126"),
    ],
)
def test_pytorchs_build_is_the_newest_that_driver_and_gpus_run(driver, capabilities, tag):
    assert wheel_tag(driver, capabilities) == tag and torch_commands(tag)[0].endswith(f"/{tag}")


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("preset", ["ue5", "mobile", "quality", "realtime"])
def test_the_plain_trainers_model_is_the_toolkits_function(preset, wrap):
    config = config_from_dict(PRESETS[preset]).model
    config.wrap = wrap
    layout = model_layout(config, 64, 64)
    channels = [0, 1, 2, 6]
    random = torch.Generator().manual_seed(0)
    texture = NeuralTexture(layout, channels, CPU, random)
    plain = PlainTexture(layout, channels, torch.Generator())
    if layout.linear:
        with torch.no_grad():
            texture.decoder.linear.copy_(torch.randn(texture.decoder.linear.shape, generator=random) / 16)
            plain.linear.copy_(texture.decoder.linear)
            for mine, theirs in zip(plain.curves, texture.decoder.curves, strict=True):
                theirs.add_(torch.randn(theirs.shape, generator=random) * 0.1)
                mine.copy_(theirs)
    flat = canonical_weights(texture.decoder)
    with torch.no_grad():
        for mine, theirs in zip(plain.grids, all_levels(texture)):
            for level, value in zip(mine, theirs):
                level.copy_(value)
        for weight, layer in zip(plain.weights, layout.layers):
            weight.copy_(flat[layer.offset : layer.offset + weight.numel()].view(weight.shape))
        for mip in range(layout.mips):
            expected = texture.decode(mip)
            height, width = expected.shape[:2]
            y, x = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
            for only in (None, mip):
                values = plain(x, y, torch.full_like(x, mip), only_mip=only).view(height, width, -1)
                torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)


def test_the_plain_trainer_learns_and_records_its_history():
    layout = model_layout(ModelConfig(), 32, 32)
    history = train_plain(material(32, 32), layout, [0, 1, 2, 6], steps=60, batch_size=1024, n_evaluations=3)
    assert [entry["iteration"] for entry in history] == [20, 40, 60]
    assert history[-1]["psnr_db"] > history[0]["psnr_db"] > 5 and history[-1]["texels"] == 60 * 1024
    with pytest.raises(UsageError, match="seconds or steps"):
        train_plain(material(32, 32), layout, [0, 1, 2, 6])


def test_the_benchmarked_trainer_counts_the_texels_it_draws():
    trained = train_ours(material(32, 32), "quality", "torch", CPU, seconds=0.2, n_evaluations=1, batch_size=2048)
    last = trained.history[-1]
    # The whole finest mip has 1024 texels, so no step can draw 2048.
    assert 0 < last["texels"] < 2048 * last["iteration"] and trained.arithmetic == choose_precision("auto", CPU, WIDE)


def test_the_time_to_a_psnr_is_that_of_the_first_evaluation_that_reaches_it():
    history = [{"time_s": 1.0, "psnr_db": 11.5}, {"time_s": 2.0, "psnr_db": 10.0}, {"time_s": 3.0, "psnr_db": 12.0}]
    assert seconds_to_psnr(history) == {"10": 1.0, "11": 1.0, "12": 3.0}


def test_the_gpu_benchmark_measures_what_it_is_asked_for_and_notes_what_is_missing(tmp_path):
    make_material(tmp_path / "wall")
    out = tmp_path / "out.json"
    done = run(
        "-m",
        "benchmarks.gpu",
        "--data_dir",
        str(tmp_path / "wall"),
        "--out",
        str(out),
        "--device",
        "cpu",
        "--quick",
        "--materials",
        "given",
        "--presets",
        "ue5",
        "--trainers",
        "torch",
        "tcnn",
        "--batch_size",
        "1024",
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    (run_,) = results["runs"]
    assert (run_["material"], run_["trainer"], run_["batch_size"]) == ("wall 64 x 64", "torch", 1024)
    # How far a training comes in its second is the machine's affair.
    assert run_["steps_per_s"] > 0 and run_["history"][-1]["psnr_db"] > 0 and run_["held_bytes"] is None
    assert len(results["at_once"]["together"]) == 2
    assert "tcnn was not measured" in results["notes"][0] and len(results["notes"]) == 1
    table = out.with_suffix(".md").read_text()
    assert "| wall 64 x 64 | ue5 | torch (float32) | 1,024 |" in table and results["notes"][0] in table


@without_cuda
def test_the_gpu_benchmark_without_a_gpu_fails_with_one_line(tmp_path):
    done = run("-m", "benchmarks.gpu", "--data_dir", str(tmp_path), "--out", str(tmp_path / "out.json"))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "NVIDIA GPU" in done.stderr
    assert not (tmp_path / "out.json").exists()
