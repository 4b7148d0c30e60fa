"""What a test of generated code needs of the machine, or it is skipped with the line to install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cpp_program import find_compiler
from benchmarks.runtime_device import open_device
from runtime.slang import slangc_path
from utils.errors import UserError


def require_slangc() -> Path:
    """Return the path of the Slang compiler, or skip the test."""
    try:
        return slangc_path()
    except UserError as error:
        pytest.skip(str(error))


def require_device():
    """Return wgpu's device on Vulkan, or skip the test."""
    try:
        return open_device()
    except UserError as error:
        pytest.skip(str(error))


def require_compiler() -> str:
    """Return the path of a C++ compiler, or skip the test."""
    try:
        return find_compiler()
    except UserError as error:
        pytest.skip(str(error))
