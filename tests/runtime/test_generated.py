"""What is generated but not run here: Metal, and the stand-alone Slang file, which slangc compiles again."""

from __future__ import annotations

import re

import pytest

from runtime.shaders import TARGETS, generate
from runtime.slang import compile_slang

FUNCTIONS = (
    "NeuralTexture_Sample",
    "NeuralTexture_SampleTrilinear",
    "NeuralTexture_Load",
    "NeuralTexture_SampleStochastic",
)


@pytest.mark.parametrize("name", ["preset quality", "linear order 3"])
def test_the_stand_alone_slang_file_compiles(exports, name):
    text = generate(exports(name), "slang").text
    wgsl = compile_slang({"neural_texture.slang": text}, "wgsl", "NeuralTexture_Bake", {}).decode()
    assert all(f"fn {name}" in wgsl for name in ("NeuralTexture_Load", "NeuralTexture_Bake"))


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "spirv"])
@pytest.mark.parametrize("export", ["mobile packed", "70 features"])
def test_every_target_keeps_the_functions_and_their_names(exports, target, export):
    text = generate(exports(export), target).text
    for name in FUNCTIONS:
        assert re.search(rf"\bNeuralTextureSample\w* {name}\(|\bfn {name}\(", text), name


def test_spirv_keeps_the_name_of_its_entry(exports):
    assert b"NeuralTexture_Bake\0" in generate(exports("mobile packed"), "spirv").code
