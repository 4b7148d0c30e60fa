"""Microsoft's DirectX Shader Compiler in tests, through its library: HLSL to DXIL or SPIR-V.

The library is the one of the Python package compushady, which installs on Windows alone but whose source package
carries those of the other systems: `python -m tests.runtime.dxc` fetches it.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.runtime.npm import CACHE

PACKAGE = "compushady==0.17.5"
LIBRARY = CACHE / "dxc" / "libdxcompiler.so"
_MEMBER = "compushady/backends/libdxcompiler_x86_64.so.3.7"
_COMPILER = "73e22d93-e6ce-47f3-b5bf-f0664f39c1b0"
_COMPILER3, _RESULT = "228B4687-5A6A-4730-900C-9702B2203F54", "58346CDA-DDE7-4497-9461-6F87AF5E0659"
_UTF8 = 65001


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("encoding", ctypes.c_uint)]


def _guid(text: str) -> ctypes.Array:
    return ctypes.create_string_buffer(uuid.UUID(text).bytes_le, 16)


def _call(thing: ctypes.c_void_p, slot: int, *arguments: object, returns: type = ctypes.c_long) -> int:
    """Call a method of a COM object by its place in the table."""
    table = ctypes.cast(thing, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    kinds = [type(argument) if isinstance(argument, ctypes._SimpleCData) else ctypes.c_void_p for argument in arguments]
    return ctypes.CFUNCTYPE(returns, ctypes.c_void_p, *kinds)(table[slot])(thing, *arguments)


@cache
def _compiler() -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    library = ctypes.CDLL(str(LIBRARY))
    compiler = ctypes.c_void_p()
    library.DxcCreateInstance.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.DxcCreateInstance(_guid(_COMPILER), _guid(_COMPILER3), ctypes.byref(compiler))
    assert compiler.value, "the library makes no compiler"
    return library, compiler


def _blob(blob: ctypes.c_void_p) -> bytes:
    if not blob.value:
        return b""
    return ctypes.string_at(
        _call(blob, _FIRST, returns=ctypes.c_void_p), _call(blob, _FIRST + 1, returns=ctypes.c_size_t)
    )


_FIRST = 5
"""First method beyond IUnknown's three and, outside Windows, the two of its destructor."""


def compile_hlsl(source: str, profile: str, *flags: str, entry: str = "main") -> bytes:
    """Compile HLSL with DXC and return DXIL, or SPIR-V with the flag -spirv; skips the test where DXC is missing.

    Fails the test with the compiler's message where it refuses the source.
    """
    if not LIBRARY.is_file():
        pytest.skip("DXC is not there: python -m tests.runtime.dxc")
    _, compiler = _compiler()
    text = source.encode()
    arguments: Sequence[str] = ("-T", profile, "-E", entry, *flags)
    given = (ctypes.c_wchar_p * len(arguments))(*arguments)
    result, blob, errors, status = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_long()
    _call(
        compiler,
        _FIRST,
        ctypes.byref(_Buffer(text, len(text), _UTF8)),
        given,
        ctypes.c_uint32(len(arguments)),
        None,
        _guid(_RESULT),
        ctypes.byref(result),
    )
    _call(result, _FIRST, ctypes.byref(status))
    _call(result, _FIRST + 2, ctypes.byref(errors))
    assert status.value == 0, _blob(errors).decode(errors="replace")[:4000]
    _call(result, _FIRST + 1, ctypes.byref(blob))
    return _blob(blob)


def install() -> None:
    """Fetch the library into the tests' cache, where it is not there yet."""
    if LIBRARY.is_file():
        return
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--no-binary", ":all:", "--retries", "1", "-d", folder]
        command = [sys.executable, "-m", "pip", "download", *options, PACKAGE]
        subprocess.run(command, check=True)
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            (member,) = (entry for entry in files if entry.name.endswith(_MEMBER))
            data = files.extractfile(member)
            assert data is not None
            LIBRARY.parent.mkdir(parents=True, exist_ok=True)
            LIBRARY.write_bytes(data.read())


if __name__ == "__main__":
    install()
