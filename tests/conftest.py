"""What every test shares: the material and the run that most tests of the trainer read."""

import contextlib
import os
import signal
import sys

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests in several processes would take the cores from each other, threads of PyTorch and NumPy above all.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts its background commands so, and all that they start would ignore Ctrl-C too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# PyTorch loads Triton where it first needs it. Triton and Mesa's software GPU both hold an LLVM, and a process ends with
# a segmentation fault where Triton's comes second.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

# isort: split
import train
import utils.threads  # noqa: F401, before torch
from tests.helpers import OFFLINE, ON, SHORT, make_material, run_folder, run_train
from utils.errors import run_command


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**OFFLINE, "TORCH_HOME": str(tmp_path_factory.mktemp("torch"))}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """A folder to work in, with the material where the manual's command lines expect it."""
    folder = tmp_path_factory.mktemp("workspace")
    make_material(folder / "data" / "test")
    return folder


@pytest.fixture(scope="session")
def finished(workspace):
    """The manual's first command line, cut short: the finished process and its run folder."""
    process = run_train(
        *"--mode train --data_dir ./data/test --save_dir ./outputs --quantize True --quantize_bits 4 "
        "--save_bits 32".split(),
        *SHORT,
        *ON,
        cwd=workspace,
    )
    assert process.returncode == 0, process.stderr
    return process, run_folder(workspace / "outputs")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run train.py's entry point in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command(train.run)
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run
