"""A Godot shader as plain GLSL: its include inlined, Godot's built-ins declared, run as a compute shader."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.engines.godot_dds import read_godot_dds
from tests.runtime.engines.gpu import GROUP, run_points

BUILTINS = """
vec2 UV; vec4 FRAGCOORD; float TIME; vec3 ALBEDO; vec3 NORMAL_MAP; float NORMAL_MAP_DEPTH; float ROUGHNESS; float AO;
float METALLIC; float SPECULAR; const bool OUTPUT_IS_SRGB = false;
"""
DESKTOP = f"""#version 450
#extension GL_EXT_samplerless_texture_functions : require
layout(local_size_x = {GROUP}) in;
struct Point {{ vec4 uv_and_pixel; vec4 footprint; }};
layout(std430, binding = 0) readonly buffer Points {{ Point points[]; }};
layout(std430, binding = 1) buffer Shaded {{ float shaded[]; }};
vec4 footprint;
#define dFdx(x) footprint.xy
#define dFdy(x) footprint.zw
{BUILTINS}
"""
DESKTOP_MAIN = """
void main() {
    uint at = gl_GlobalInvocationID.x;
    UV = points[at].uv_and_pixel.xy;
    FRAGCOORD = vec4(points[at].uv_and_pixel.zw + 0.5, 0.0, 1.0);
    footprint = points[at].footprint;
    TIME = 1.5;
    fragment();
    float values[10] = float[](ALBEDO.x, ALBEDO.y, ALBEDO.z, NORMAL_MAP.x, NORMAL_MAP.y, NORMAL_MAP.z, ROUGHNESS, AO,
        METALLIC, SPECULAR);
    for (int i = 0; i < 10; i++) shaded[at * 10u + uint(i)] = values[i];
}
"""
STRICT = f"""#version 310 es
precision highp float;
precision highp int;
precision highp sampler2D;
{BUILTINS}
layout(location = 0) out vec4 colour;
"""
STRICT_MAIN = "void main() { fragment(); colour = vec4(ALBEDO + NORMAL_MAP, ROUGHNESS + AO + METALLIC + SPECULAR); }"
_SAMPLER = re.compile(r"uniform sampler2D (\w+) : [\w, ]+;")
_UNIFORM = re.compile(r"uniform (\w+) (\w+)(?: : [^=;]+)? = ([^;]+);")


def inlined(shader: Path) -> str:
    """Return the shader with its include in place and without its type."""
    code = shader.read_text("utf-8").replace("shader_type spatial;", "")
    return re.sub(r'#include "([^"]+)"', lambda found: (shader.parent / found[1]).read_text("utf-8"), code)


def as_desktop(code: str, settings: dict[str, str]) -> tuple[str, list[str]]:
    """Return GLSL 4.50 of a compute shader, and the names of its textures, which have bindings 3, 4, ..."""
    names = _SAMPLER.findall(code)
    for number, name in enumerate(names):
        code = re.sub(
            rf"uniform sampler2D {name} :[^;]+;", f"layout(binding = {number + 3}) uniform texture2D {name};", code
        )
    code = _UNIFORM.sub(lambda found: f"const {found[1]} {found[2]} = {settings.get(found[2], found[3])};", code)
    return DESKTOP + code + DESKTOP_MAIN, names


def as_strict(code: str) -> str:
    """Return GLSL ES 3.10 of a fragment shader, which like Godot converts no types by itself."""
    code = _SAMPLER.sub(r"uniform sampler2D \1;", code)
    return STRICT + _UNIFORM.sub(r"const \1 \2 = \3;", code) + STRICT_MAIN


def compile_glsl(code: str, stage: str, folder: Path) -> bytes:
    """Return SPIR-V (Vulkan's for `comp`), or skip the test where there is no glslang."""
    program = shutil.which("glslangValidator")
    if not program:
        pytest.skip("needs glslang: apt-get install glslang-tools")
    source, out = folder / f"shader.{stage}", folder / f"{stage}.spv"
    source.write_text(code, encoding="utf-8")
    mode = ["-V", "-o", str(out)] if stage == "comp" else []
    result = subprocess.run([program, *mode, "-S", stage, str(source)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout[-2000:]
    return _with_remainders(out.read_bytes()) if mode else b""


def _with_remainders(spirv: bytes) -> bytes:
    """Return SPIR-V with OpSRem for OpSMod, which wgpu cannot take in vectors.

    They differ in the sign for negative numbers, which GLSL leaves open.
    """
    words, at = np.frombuffer(spirv, "<u4").copy(), 5
    while at < len(words):
        if words[at] & 0xFFFF == 139:
            words[at] -= 1
        at += int(words[at] >> 16)
    return words.tobytes()


def shade(package: Path, name: str, points: np.ndarray, settings: dict[str, str], folder: Path) -> np.ndarray:
    """Run `fragment()` for points `[N, 8]` (uv, pixel, dFdx(uv), dFdy(uv)) on wgpu's Vulkan device: `[N, 10]`.

    The results are ALBEDO, NORMAL_MAP, ROUGHNESS, AO, METALLIC and SPECULAR.
    """
    code, names = as_desktop(inlined(package / f"{name}.gdshader"), settings)
    textures = [read_godot_dds(package / f"{texture}.dds") for texture in names]
    return run_points(compile_glsl(code, "comp", folder), points, 10, textures)
