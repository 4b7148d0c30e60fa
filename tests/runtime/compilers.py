"""Compilers of other languages that the generated sources are proven with."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE_INSTRUCTION = 3


def require_glslang() -> str:
    """Return the path of glslangValidator, or skip the test with the line to install it."""
    return shutil.which("glslangValidator") or pytest.skip("needs glslangValidator: apt-get install glslang-tools")


def glsl_to_spirv(source: str, folder: Path) -> bytes:
    """Compile a GLSL compute shader; its entry is `main`."""
    return _glslang(source, folder / "shader.comp", "-V", "-S", "comp")


def hlsl_to_spirv(source: str, entry: str, numbers: dict[str, int], folder: Path) -> bytes:
    """Compile an HLSL compute shader, its registers brought to the binding `numbers` by name."""
    registers = re.findall(r"(\w+) : register\(([tsbu]\d+)", source)
    assert {name for name, _ in registers} == set(numbers)
    sets = [part for name, register in registers for part in (register, "0", str(numbers[name]))]
    return _glslang(
        source, folder / "shader.hlsl", "--resource-set-binding", "comp", *sets, "-D", "-V", "-S", "comp", "-e", entry
    )


def _glslang(source: str, path: Path, *flags: str) -> bytes:
    path.write_text(source, encoding="utf-8")
    out = path.with_suffix(".spv")
    command = [require_glslang(), *flags, str(path), "-o", str(out)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[:3000]
    return out.read_bytes()


def validate_spirv(code: bytes, folder: Path) -> str:
    """Return what spirv-val finds, empty where the module is valid; skips the test where it is missing."""
    program = shutil.which("spirv-val") or pytest.skip("needs spirv-val: apt-get install spirv-tools")
    words = list(struct.unpack(f"<{len(code) // 4}I", code))
    at = 5
    while at < len(words):
        # Validators older than Slang's number refuse the name of the source language.
        if words[at] & 0xFFFF == _SOURCE_INSTRUCTION:
            words[at + 1] = 0
        at += words[at] >> 16
    path = folder / "module.spv"
    path.write_bytes(struct.pack(f"<{len(words)}I", *words))
    result = subprocess.run([program, "--target-env", "vulkan1.3", str(path)], capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stderr + result.stdout


def require_nvrtc() -> ctypes.CDLL:
    """Load NVRTC, which comes with PyTorch's CUDA wheels, or skip the test with the line to install it."""
    folders = []
    for package in ("nvidia", "nvidia.cuda_nvrtc"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        folders += list(spec.submodule_search_locations or []) if spec else []
    pattern = "nvrtc64_*.dll" if sys.platform == "win32" else "libnvrtc.so.*"
    found = [path for folder in folders for path in Path(folder).rglob(pattern) if "alt" not in path.name]
    if not found:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime")
    return ctypes.CDLL(str(found[0]))


def cuda_include_folder() -> Path:
    """Return the folder of CUDA's headers, or skip the test with the line to install them."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for header in Path(folder).rglob("cuda_fp16.h"):
            return header.parent
    pytest.skip("needs CUDA's headers: pip install nvidia-cuda-runtime")


def cuda_to_ptx(source: str, *flags: str) -> bytes:
    """Compile CUDA C++ to PTX by NVRTC; fails with the compiler's log."""
    nvrtc, program = require_nvrtc(), ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"decoder.cu", 0, None, None) == 0
    options = [f"-I{cuda_include_folder()}", "--std=c++17", *flags]
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not failed, "\n".join(line for line in log.value.decode().splitlines() if "error" in line)[:4000]
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.raw
