"""Which device, backends and precision a run can use; only `auto` falls back, and says so."""

from __future__ import annotations

import torch

from model.backends.torch_backend import TorchBackend
from model.layout import ModelLayout
from model.precision import gains_from_bfloat16, set_training_products
from model.texture import NeuralTexture
from utils.errors import UsageError, UserError

TF32_BITS = 8
"""Most bits of a feature, of those there are (2, 4, 8, 16), whose levels TF32 holds exactly."""
EXPERIMENTAL = "experimental, not yet measured on hardware"
"""Said of everything that runs on a GPU alone."""
DOCTOR = "`python -m model.doctor` says how to get it"


def _mps_available() -> bool:
    mps = getattr(torch.backends, "mps", None)
    return mps is not None and mps.is_available()


def cuda_problem() -> str:
    """Return why PyTorch cannot use an NVIDIA GPU, in a few words, or "" where it can."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return "this PyTorch was built without CUDA"
    return "PyTorch finds no NVIDIA GPU or no driver for it"


def choose_device(name: str) -> torch.device:
    """Return the device called `name`: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps.

    Raises `UserError` where what was asked for is not there.
    """
    device_type, _, number = name.partition(":")
    if device_type == "auto" and not number:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _mps_available() else "cpu")
    if device_type not in ("cpu", "cuda", "mps") or (
        ":" in name and not (device_type == "cuda" and number.isdecimal())
    ):
        raise UsageError(f"device {name!r} is unknown; choose auto, cpu, cuda or mps")
    if device_type == "cuda":
        problem = cuda_problem()
        if problem:
            raise UserError(f"device {name} is not there: {problem}; {DOCTOR}, --device auto uses what there is")
        if number and int(number) >= torch.cuda.device_count():
            raise UserError(
                f"device {name} is not there: the last one is cuda:{torch.cuda.device_count() - 1}; "
                "choose a lower number"
            )
    if device_type == "mps" and not _mps_available():
        raise UserError(
            "device mps is not there: it needs PyTorch on a Mac with an Apple GPU and macOS 12.3 or later; "
            "--device auto uses what there is"
        )
    return torch.device(name)


def usable_backends(name: str, device: torch.device, layout: ModelLayout) -> tuple[list[str], str]:
    """Return the backends that `name` (auto, torch or tcnn) leaves to choose from, `torch` first, and one line on why
    there is one alone (empty where it was asked for by name, or there are two).

    Raises `UserError` where `tcnn` was asked for and cannot run.
    """
    if name == "torch":
        return [name], ""
    if name not in ("auto", "tcnn"):
        raise UsageError(f"backend {name!r} is unknown; choose auto, torch or tcnn")
    problem = "" if device.type == "cuda" else f"tiny-cuda-nn needs device cuda, this run uses {device.type}"
    if layout.linear or layout.feature_curves or any(grid.mixed for grid in layout.grids):
        problem = problem or (
            "tiny-cuda-nn has no linear decoder, feature curves or mixed bits; "
            "PyTorch's own steps are captured as CUDA graphs"
        )
    if name == "tcnn":
        from model.backends.tcnn_backend import import_tinycudann

        if problem:
            raise UserError(f"backend tcnn cannot run: {problem}; {DOCTOR}, --backend torch runs everywhere")
        import_tinycudann()
        return [name], ""
    if not problem:
        from model.backends.tcnn_backend import tinycudann_problem
        from model.backends.tcnn_layout import network_type

        network, reason = network_type(layout)
        if network == "torch":
            problem = f"this decoder has to run in PyTorch ({reason}), whose own steps are captured as CUDA graphs"
        else:
            problem = tinycudann_problem()
    return (["torch"], f"torch: {problem}") if problem else (["torch", "tcnn"], "")


def choose_precision(name: str, device: torch.device, layout: ModelLayout) -> str:
    """Return the arithmetic of a decoder in PyTorch while training: `name`, or for auto bfloat16 where it is faster.

    Raises `UsageError` for anything but auto, float32 and bfloat16.
    """
    if name == "auto":
        return "bfloat16" if gains_from_bfloat16(device, layout.n_neurons) else "float32"
    if name not in ("float32", "bfloat16"):
        raise UsageError(f"precision {name!r} is unknown; choose auto, float32 or bfloat16")
    return name


def make_backend(name: str, texture: NeuralTexture, precision: str) -> TorchBackend:
    """Return the backend `name` (of `usable_backends`) for a texture.

    The training pass on CUDA runs in TF32 where that holds every level of the grids; evaluations run in full float32.
    """
    set_training_products(texture.device, all(grid.quantize_bits <= TF32_BITS for grid in texture.layout.grids))
    if name == "tcnn":
        from model.backends.tcnn_backend import TcnnBackend

        return TcnnBackend(texture, precision)
    return TorchBackend(texture, precision)
