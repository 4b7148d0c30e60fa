"""What this machine has for training, and the commands that add what is missing: `python -m model.doctor [--json]`."""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import argparse
import glob
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass, field

from configs import PRESETS, ModelConfig
from utils.errors import run_command

TORCH_INDEX = "https://download.pytorch.org/whl"
TCNN_SOURCE = "git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"
ARCHITECTURES = {
    "75": "RTX 2000, T4",
    "80": "A100",
    "86": "RTX 3000",
    "89": "RTX 4000, L4",
    "90": "H100, H200",
    "100": "B200",
    "120": "RTX 5000",
}
"""Compute capabilities as TCNN_CUDA_ARCHITECTURES writes them."""
FIRST_WITH_CPP20 = (2, 13)
"""First PyTorch whose headers need C++20; tiny-cuda-nn's build asks for C++17, and nvcc 13.2 fails on it with C++20."""


@dataclass
class Report:
    """What was found, what it means for training, and how to mend it."""

    found: dict[str, str] = field(default_factory=dict)
    """Titled lines, in order."""
    problems: dict[str, str] = field(default_factory=dict)
    """What is missing, by `torch`, `cuda`, `compiler`, `nvcc` or `tinycudann`, and why."""
    uses: dict[str, str] = field(default_factory=dict)
    """What a run with --device auto and --backend auto uses."""
    commands: list[dict[str, object]] = field(default_factory=list)
    """Cures: `for`, and `commands` as lines of a shell."""
    can_train: bool = False


def run_tool(*command: str) -> str | None:
    """Return what a command prints, or None where it is missing or fails."""
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=30, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_compiler(windows: bool) -> tuple[str, str]:
    """Return the C++ compiler found and what is wrong with it ("" where nothing is)."""
    if not windows:
        version = run_tool("g++", "--version")
        return (version.splitlines()[0], "") if version else ("none", "g++ is not installed")
    if shutil.which("cl"):
        return f"cl, {shutil.which('cl')}", ""
    if find_vcvars():
        return "Visual Studio, but not in this prompt", "cl is not on the PATH: this is no Visual Studio prompt"
    return "none", "Visual Studio with C++ is not installed"


def find_vcvars() -> str:
    """Return the newest vcvars64.bat of this machine, or ""."""
    roots = [os.environ.get("ProgramFiles", r"C:\Program Files"), os.environ.get("ProgramFiles(x86)", "")]
    script = os.path.join("Microsoft Visual Studio", "*", "*", "VC", "Auxiliary", "Build", "vcvars64.bat")
    found = [path for root in roots if root for path in glob.glob(os.path.join(root, script))]
    return sorted(found)[-1] if found else ""


def nvcc_version() -> str | None:
    """Return the CUDA version of nvcc, such as 12.8, or None."""
    match = re.search(r"release (\d+\.\d+)", run_tool("nvcc", "--version") or "")
    return match.group(1) if match else None


def architectures(capabilities: list[str]) -> str:
    """Return the value of TCNN_CUDA_ARCHITECTURES: these GPUs', or the usual ones' where none is visible.

    >>> architectures(["8.9", "8.6", "8.9"])
    '86;89'
    >>> architectures([])
    '75;86;89'
    """
    numbers = sorted({int(capability.replace(".", "")) for capability in capabilities})
    return ";".join(map(str, numbers)) or "75;86;89"


def wheel_tag(driver_cuda: str | None, capabilities: list[str]) -> str:
    """Return PyTorch's name of its newest CUDA build for all of these GPUs and their driver, None for one yet to come.

    >>> wheel_tag("13.0", ["8.9"]), wheel_tag("12.9", ["12.0"]), wheel_tag("13.0", ["6.1"]), wheel_tag(None, [])
    ('cu130', 'cu128', 'cu126', 'cu130')
    """
    version, oldest = _numbers(driver_cuda or "13.0"), min(map(_numbers, capabilities), default=(7, 5))
    # CUDA 13 has no code for GPUs before Turing, nor have PyTorch's newer builds for 12.8.
    if oldest < (7, 5) or version < (12, 8):
        return "cu126"
    return "cu130" if version >= (13, 0) else "cu128"


def _numbers(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version."""
    major, minor = (re.findall(r"\d+", version) + ["0"])[:2]
    return int(major), int(minor)


def torch_commands(tag: str) -> list[str]:
    """Return the installation of a CUDA build of PyTorch."""
    return [f"python -m pip install --force-reinstall torch torchvision --index-url {TORCH_INDEX}/{tag}"]


def tcnn_commands(windows: bool, arches: str, cuda: str | None, tag: str) -> list[str]:
    """Return the commands that build tiny-cuda-nn for GPUs of the given capabilities, visible or not.

    `cuda`: what PyTorch was built with; `tag`: of the CUDA build that has to replace it first, "" to keep it.
    """
    install = []
    if tag:
        install.append(
            f'python -m pip install "torch<{FIRST_WITH_CPP20[0]}.{FIRST_WITH_CPP20[1]}" torchvision '
            f"--index-url {TORCH_INDEX}/{tag}"
        )
    # Its setup.py imports torch and pkg_resources, so it builds in this environment, with a setuptools that has it.
    install += [
        'python -m pip install "setuptools<81" wheel ninja',
        f'python -m pip install --no-build-isolation "{TCNN_SOURCE}"',
    ]
    if windows:
        vcvars = find_vcvars() or (
            r"C:\Program Files\Microsoft Visual Studio\2022\Community"
            r"\VC\Auxiliary\Build\vcvars64.bat"
        )
        return [f'call "{vcvars}"', "set DISTUTILS_USE_SDK=1", f"set TCNN_CUDA_ARCHITECTURES={arches}", *install]
    home = f"/usr/local/cuda-{cuda}" if cuda else "/usr/local/cuda"
    # Where no driver is installed, its library is linked from the toolkit's stubs.
    return [
        f"export PATH={home}/bin:$PATH LD_LIBRARY_PATH={home}/lib64:$LD_LIBRARY_PATH "
        f"LIBRARY_PATH={home}/lib64/stubs:$LIBRARY_PATH",
        f'export TCNN_CUDA_ARCHITECTURES="{arches}"',
        *install,
    ]


def examine(windows: bool) -> Report:
    """Look at this machine."""
    report = Report()
    found, problems = report.found, report.problems
    found["Python"] = f"{platform.python_version()}, {sys.executable}"
    found["system"] = f"{platform.platform()}, {os.cpu_count()} processors"
    smi = run_tool("nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader")
    found["GPU (driver)"] = "; ".join(smi.splitlines()) if smi else "none (nvidia-smi is missing or finds no GPU)"
    driver_cuda = re.search(r"CUDA Version:\s*(\d+\.\d+)", (run_tool("nvidia-smi") or "") if smi else "")
    capabilities = [part for line in (smi or "").splitlines() for part in re.findall(r",\s*(\d+\.\d+)\s*,", line)]

    cuda = _examine_torch(report)
    if "cuda" not in problems and "torch" not in problems:
        import torch

        capabilities = [
            ".".join(map(str, torch.cuda.get_device_capability(index))) for index in range(torch.cuda.device_count())
        ]
        found["compute capability"] = ", ".join(capabilities)
    nvcc = nvcc_version()
    found["nvcc"] = f"CUDA {nvcc}" if nvcc else "none"
    if not nvcc:
        problems["nvcc"] = "the CUDA toolkit is not installed or not on the PATH"
    elif cuda and nvcc.split(".")[0] != cuda.split(".")[0]:
        problems["nvcc"] = f"CUDA {nvcc}, but PyTorch was built with {cuda}; extensions need the same major version"
    found["C++ compiler"], problem = find_compiler(windows)
    if problem:
        problems["compiler"] = problem
    _examine_tinycudann(report)
    _add_commands(report, driver_cuda.group(1) if driver_cuda else None, capabilities, cuda)
    return report


def _examine_torch(report: Report) -> str | None:
    """Look at PyTorch and what a run would use; returns the CUDA version it was built with."""
    try:
        import torch

        from model.backends.choose import EXPERIMENTAL, choose_device, cuda_problem
        from model.precision import gains_from_bfloat16
    except (ImportError, OSError, RuntimeError) as error:
        report.found["PyTorch"] = "none"
        report.problems["torch"] = f"import torch fails: {' '.join(str(error).split())}"
        return None
    cuda = torch.version.cuda
    report.found["PyTorch"] = f"{torch.__version__}, built " + (f"with CUDA {cuda}" if cuda else "without CUDA")
    problem = cuda_problem()
    report.found["GPU (PyTorch)"] = (
        "none"
        if problem
        else "; ".join(
            f"{torch.cuda.get_device_name(index)}, {torch.cuda.get_device_properties(index).total_memory / 2**30:.1f} GiB"
            for index in range(torch.cuda.device_count())
        )
    )
    if problem:
        report.problems["cuda"] = problem
    device = choose_device("auto")
    report.uses["device"] = device.type
    by_precision: dict[str, list[str]] = {}
    for preset, settings in PRESETS.items():
        width = int(str(settings.get("model", {}).get("n_neurons", ModelConfig().n_neurons)))
        by_precision.setdefault("bfloat16" if gains_from_bfloat16(device, width) else "float32", []).append(preset)
    report.uses["precision"] = ", ".join(
        name if len(by_precision) == 1 else f"{name} ({', '.join(presets)})" for name, presets in by_precision.items()
    )
    if device.type != "cpu":
        report.uses["note"] = EXPERIMENTAL
    try:
        report.can_train = bool((torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device) == 2).all())
    except RuntimeError as error:
        # Such as a GPU that this build has no kernels for; the processor is still there.
        report.problems["cuda"] = f"a first product on {device} fails: {str(error).splitlines()[0]}"
        report.uses["device"], report.can_train = f"{device.type} (fails; add --device cpu)", True
    return cuda


def _examine_tinycudann(report: Report) -> None:
    if "torch" in report.problems:
        report.found["tinycudann"] = "not looked at: it needs PyTorch"
        return
    from model.backends.tcnn_backend import tinycudann_problem

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        problem = tinycudann_problem()
    notes = [str(warning.message) for warning in caught if "tinycudann" in str(warning.message)]
    installed = importlib.util.find_spec("tinycudann") is not None
    report.found["tinycudann"] = "; ".join(["works" if not problem else "installed" if installed else "none", *notes])
    if problem:
        report.problems["tinycudann"] = problem
    both = not problem and report.uses.get("device") == "cuda"
    report.uses["backend"] = "torch or tcnn, the faster one" if both else "torch"


def _add_commands(report: Report, driver_cuda: str | None, capabilities: list[str], cuda: str | None) -> None:
    problems = report.problems

    def add(purpose: str, commands: list[str]) -> None:
        report.commands.append({"for": purpose, "commands": commands})

    if "torch" in problems or "cuda" in problems:
        if not report.found["GPU (driver)"].startswith("none"):
            purpose = "PyTorch with CUDA for this driver, Windows and Linux"
        else:
            purpose = (
                "An NVIDIA GPU needs its driver first (https://www.nvidia.com/drivers); "
                "then PyTorch with CUDA, Windows and Linux"
            )
        add(
            f"{purpose} (other versions: https://pytorch.org/get-started/locally)",
            torch_commands(wheel_tag(driver_cuda, capabilities)),
        )
    if "torch" in problems:
        add("PyTorch without a GPU", [f"python -m pip install torch torchvision --index-url {TORCH_INDEX}/cpu"])
    if "tinycudann" not in problems or "torch" in problems:
        return
    import torch

    # Where PyTorch has no CUDA, the commands above have installed the newest by now.
    too_new = torch.version.cuda is None or _numbers(torch.__version__) >= FIRST_WITH_CPP20
    known = ", ".join(f"{number} {cards}" for number, cards in ARCHITECTURES.items())
    wanted = f"CUDA toolkit {cuda}" if cuda else "CUDA toolkit of PyTorch's version"
    if too_new:
        wanted += ", PyTorch 2.12 (the headers of later ones need C++20, tiny-cuda-nn asks for C++17)"
    for windows, tools, first in (
        (True, "Visual Studio 2022 with C++, Git; in cmd", []),
        (False, "g++, git", ["sudo apt-get install build-essential git"]),
    ):
        add(
            f"tiny-cuda-nn on {'Windows' if windows else 'Linux'}: {wanted}, {tools}; no GPU needs to be visible "
            f"(architectures: {known})",
            first
            + tcnn_commands(
                windows,
                architectures(capabilities),
                cuda,
                wheel_tag(cuda or driver_cuda, capabilities) if too_new else "",
            ),
        )


def show(report: Report) -> None:
    """Print a report as aligned lines."""
    for title, text in report.found.items():
        print(f"{title + ':':<20} {text}")
    print()
    for title, text in report.problems.items():
        print(f"{'missing ' + title + ':':<20} {text}")
    if report.uses:
        print(f"{'a run would use:':<20} " + ", ".join(f"{name} {value}" for name, value in report.uses.items()))
    verdict = "yes" if report.can_train else "no, PyTorch is missing or broken"
    if report.can_train and "tinycudann" in report.problems:
        verdict += "; tiny-cuda-nn is optional, it can add speed on NVIDIA GPUs"
    print(f"{'can train:':<20} {verdict}")
    for cure in report.commands:
        print(f"\n{cure['for']}:")
        for command in cure["commands"]:  # type: ignore[attr-defined]
            print(f"    {command}")


def main() -> int:
    """Report; returns 0 if the toolkit can train here."""
    parser = argparse.ArgumentParser(prog="python -m model.doctor", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    report = examine(windows=platform.system() == "Windows")
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        show(report)
    return 0 if report.can_train else 1


if __name__ == "__main__":
    run_command(main)
