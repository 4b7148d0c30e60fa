"""The generated CUDA compiled by NVRTC, which needs no GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.shaders import default_options, generate
from tests.runtime.compilers import cuda_to_ptx


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("preset ue5", ()),
        # Optimising takes NVRTC ten times as long as all the rest.
        *((name, ("--device-debug",)) for name in ("mobile packed", "preset quality", "order 1, int8", "order 2")),
        *((name, ("--device-debug",)) for name in ("linear order 3", "70 features")),
    ],
)
def test_nvrtc_compiles_the_decoder(exports, name, flags):
    ptx = cuda_to_ptx(generate(exports.readable(name), "cuda").text, "--gpu-architecture=compute_75", *flags)
    assert b".entry NeuralTexture_Decode" in ptx


def test_nvrtc_compiles_half_precision(exports):
    options = replace(default_options("cuda"), half=True)
    text = generate(exports("mobile packed"), "cuda", options).text
    ptx = cuda_to_ptx(text, "--gpu-architecture=compute_75", "--device-debug")
    assert b".entry NeuralTexture_Decode" in ptx
