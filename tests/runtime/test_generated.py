"""What is generated but not run here: Metal, and the stand-alone Slang file, which slangc compiles again."""

from __future__ import annotations

import re

from runtime.shaders import generate
from runtime.slang import compile_slang

FUNCTIONS = (
    "NeuralTexture_Sample",
    "NeuralTexture_SampleTrilinear",
    "NeuralTexture_Load",
    "NeuralTexture_SampleStochastic",
)


def test_metal_names_every_function_and_is_compiled_by_nobody(exports):
    text = generate(exports("preset mobile"), "metal").text
    for name in (*FUNCTIONS[:3], "struct NeuralTextureSample"):
        assert re.search(rf"\b{name}\b", text), name


def test_the_stand_alone_slang_file_compiles(exports):
    text = generate(exports("preset quality"), "slang").text
    wgsl = compile_slang({"neural_texture.slang": text}, "wgsl", "NeuralTexture_Bake", {}).decode()
    assert all(f"fn {name}" in wgsl for name in ("NeuralTexture_Load", "NeuralTexture_Bake"))


def test_every_text_target_keeps_the_functions_names(exports):
    reader = exports("mobile packed")
    for target in ("hlsl", "glsl", "wgsl", "cuda", "cpp"):
        text = generate(reader, target).text
        for name in FUNCTIONS:
            assert re.search(rf"\b{name}\(", text), (target, name)
