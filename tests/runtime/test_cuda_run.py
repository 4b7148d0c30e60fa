"""The generated CUDA run on a GPU, where there is one, against the NumPy reader."""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.cpp_program import ENTRY_BYTES, buffer_data
from runtime.shaders import generate
from tests.runtime.compilers import cuda_to_ptx
from tests.runtime.exports import FLOAT_ERROR, draw_points, expected, largest_error

GROUP = 64
"""Threads of a group of NeuralTexture_Decode."""
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76


class Gpu(NamedTuple):
    """The CUDA driver with a context of the first GPU."""

    driver: ctypes.CDLL
    architecture: str

    def call(self, name: str, *arguments) -> None:
        result = getattr(self.driver, name)(*arguments)
        assert result == 0, f"{name} failed with CUDA error {result}"

    def upload(self, data: bytes) -> ctypes.c_uint64:
        """Copy bytes to the GPU and return where they lie."""
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(len(data)))
        self.call("cuMemcpyHtoD_v2", pointer, data, ctypes.c_size_t(len(data)))
        return pointer


@pytest.fixture(scope="module")
def gpu():
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        pytest.skip("needs an NVIDIA GPU with its driver")
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        pytest.skip("needs an NVIDIA GPU")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    version = [ctypes.c_int(), ctypes.c_int()]
    assert driver.cuDeviceGet(ctypes.byref(device), 0) == 0
    for part, attribute in zip(version, (_COMPUTE_MAJOR, _COMPUTE_MINOR)):
        assert driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, device) == 0
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
    assert driver.cuCtxSetCurrent(context) == 0
    yield Gpu(driver, f"compute_{version[0].value}{version[1].value}")
    driver.cuDevicePrimaryCtxRelease_v2(device)


def _decode(gpu: Gpu, ptx: bytes, shader, reader, points: np.ndarray) -> np.ndarray:
    """Run NeuralTexture_Decode over `POINT` `[N]`; returns float32 `[N, 11]`."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    place, size = ctypes.c_uint64(), ctypes.c_size_t()
    gpu.call("cuModuleLoadData", ctypes.byref(module), ptx)
    gpu.call("cuModuleGetFunction", ctypes.byref(function), module, b"NeuralTexture_Decode")
    gpu.call("cuModuleGetGlobal_v2", ctypes.byref(place), ctypes.byref(size), module, b"SLANG_globalParams")
    decoded = np.zeros((len(points), 12), np.float32)
    contents, resources = buffer_data(shader, reader, points), b""
    allocated: dict[str, ctypes.c_uint64] = {}
    for binding in shader.bindings:
        if binding.kind == "uniform":
            data, count = np.uint32(len(points)).tobytes(), None
        else:
            data = (decoded if binding.kind == "output_buffer" else contents[binding.name]).tobytes()
            count = len(data) // ENTRY_BYTES.get(binding.format, points.dtype.itemsize)
        allocated[binding.name] = gpu.upload(data)
        resources += allocated[binding.name].value.to_bytes(8, "little")
        # A buffer is a pointer and its count of entries, a uniform the pointer alone.
        resources += b"" if count is None else count.to_bytes(8, "little")
    assert len(resources) == size.value
    gpu.call("cuMemcpyHtoD_v2", place, resources, size)
    groups = -(-len(points) // GROUP)
    gpu.call("cuLaunchKernel", function, groups, 1, 1, GROUP, 1, 1, 0, None, None, None)
    gpu.call("cuCtxSynchronize")
    gpu.call(
        "cuMemcpyDtoH_v2",
        decoded.ctypes.data_as(ctypes.c_void_p),
        allocated["decoded"],
        ctypes.c_size_t(decoded.nbytes),
    )
    for pointer in allocated.values():
        gpu.call("cuMemFree_v2", pointer)
    gpu.call("cuModuleUnload", module)
    return decoded[:, :11]


@pytest.mark.parametrize(
    "name", ["preset quality", "mobile packed", "preset ue5", "order 1, int8", "clamped", "odd size"]
)
def test_a_gpu_gives_what_the_reader_gives(exports, largest_errors, gpu, name):
    reader = exports.readable(name)
    shader = generate(reader, "cuda")
    ptx = cuda_to_ptx(shader.text, f"--gpu-architecture={gpu.architecture}")
    points = draw_points(reader)
    error = largest_error(_decode(gpu, ptx, shader, reader, points), expected(reader, points))
    largest_errors.setdefault("CUDA", {})[name] = error
    assert error < FLOAT_ERROR
