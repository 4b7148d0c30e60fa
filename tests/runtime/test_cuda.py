"""The generated CUDA compiled by NVRTC, which needs no GPU."""

from __future__ import annotations

import pytest

from runtime.shaders import generate
from tests.runtime.compilers import cuda_to_ptx


@pytest.mark.parametrize("name", ["mobile packed", "preset ue5", "order 1, int8", "order 2"])
def test_nvrtc_compiles_the_decoder(exports, name):
    ptx = cuda_to_ptx(generate(exports.readable(name), "cuda").text, "--gpu-architecture=compute_75")
    assert b".entry NeuralTexture_Decode" in ptx
