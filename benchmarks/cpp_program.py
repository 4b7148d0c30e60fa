"""The generated C++, compiled by the system's compiler and called through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.runtime_device import POINT
from formats.dds import read_dds
from formats.reader import NeuralTextureReader
from runtime.shaders import Shader
from utils.errors import UserError


def find_compiler() -> str:
    """Return the path of a C++ compiler; raises `UserError` with the line to install one."""
    for name in ("g++", "clang++"):
        if found := shutil.which(name):
            return found
    raise UserError("needs a C++ compiler: apt-get install g++")


def build(source: Path, *flags: str) -> ctypes.CDLL:
    """Compile a file of C++ to a library beside it and load it; raises `UserError` with the compiler's message."""
    library = source.with_suffix(".so")
    command = [find_compiler(), "-std=c++17", "-shared", "-fPIC", *(flags or ("-O1",)), str(source), "-o", str(library)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"{source.name} was not compiled:\n{result.stderr[:4000]}")
    return ctypes.CDLL(str(library))


ENTRY_BYTES = {"uint4": 16, "uint": 4, "float": 4}
"""Bytes of a buffer's entry by `Binding.format`; other entries are points."""


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("count", ctypes.c_size_t)]


def grid_data(reader: NeuralTextureReader, file: str) -> np.ndarray:
    """Return a DDS file's levels as 32-bit words one after another, finest first, as buffers hold them."""
    _, levels = read_dds(reader.folder / file)
    return np.concatenate([np.ascontiguousarray(level).reshape(-1).view("<u4") for level in levels])


def buffer_data(shader: Shader, reader: NeuralTextureReader, points: np.ndarray) -> dict[str, np.ndarray]:
    """Return what every buffer of a generated decoder holds, by binding."""
    assert points.dtype == POINT
    own = {
        "weights": np.frombuffer(shader.weights.data, np.uint8),
        "points": points,
        "decoded": np.zeros((len(points), 12), np.float32),
        "decode_settings": np.array([len(points), 0, 0, 0], np.uint32),
    }
    return {b.name: grid_data(reader, b.file) if b.name.startswith("grid") else own[b.name] for b in shader.bindings}


def prepared(
    library: ctypes.CDLL, shader: Shader, reader: NeuralTextureReader, points: np.ndarray
) -> tuple[Callable[[], None], np.ndarray]:
    """Return a call of NeuralTexture_Decode on points, and where it writes: float32 `[N, 12]`."""
    data = {name: np.ascontiguousarray(values) for name, values in buffer_data(shader, reader, points).items()}

    class Parameters(ctypes.Structure):
        _fields_ = [(b.name, ctypes.c_void_p if b.kind == "uniform" else _Buffer) for b in shader.bindings]

    parameters = Parameters()
    for binding in shader.bindings:
        values = data[binding.name]
        address = values.ctypes.data
        count = values.nbytes // ENTRY_BYTES.get(binding.format, POINT.itemsize)
        setattr(parameters, binding.name, address if binding.kind == "uniform" else _Buffer(address, count))
    groups = (ctypes.c_uint32 * 6)(0, 0, 0, -(-len(points) // 64), 1, 1)

    # The parameters hold addresses alone, so the call keeps the data.
    def call(kept: dict = data) -> None:
        library.NeuralTexture_Decode(groups, None, ctypes.byref(parameters))

    return call, data["decoded"]


def decode(library: ctypes.CDLL, shader: Shader, reader: NeuralTextureReader, points: np.ndarray) -> np.ndarray:
    """Decode points by the entry NeuralTexture_Decode: float32 `[N, 11]`."""
    call, decoded = prepared(library, shader, reader, points)
    call()
    return decoded[:, :11]
