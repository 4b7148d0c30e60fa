"""The package for Unity: its code compiled and run inside what Shader Graph makes of it, its importer compiled."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime.engines.hlsl_material import hlsl_material
from runtime.engines.textures import grid_atlas
from runtime.engines.unity import unity_package
from tests.runtime.dxc import compile_hlsl
from tests.runtime.engines.hlsl_harness import main_of, material, normals, random_points, run, texel_points
from tests.runtime.exports import in_linear_light
from tests.runtime.materials import exported, without

_GRAPH = """
struct UnityTexture2D { Texture2D tex; SamplerState samplerstate; float4 texelSize; };
static float4 _ScreenParams = float4(1920.0f, 1080.0f, 0.0f, 0.0f);
"""
_COMPUTE = """
static float2 ALONG_X, ALONG_Y;
#define ddx(p) ALONG_X
#define ddy(p) ALONG_Y
"""
_OUTPUTS = {
    "BaseColor": 3,
    "Normal": 3,
    "Smoothness": 1,
    "Occlusion": 1,
    "Metallic": 1,
    "Specular": 1,
    "Displacement": 1,
}


def include_file(reader, folder):
    """The package's include file."""
    unity_package(reader, folder, "Brick")
    return (folder / "BrickNeuralTexture.hlsl").read_text(encoding="utf-8")


def call(made, precision, uv, trilinear):
    """Statements that call a Custom Function as a graph does."""
    lines = [f"UnityTexture2D t{i}; t{i}.tex = T{i}; t{i}.samplerstate = nearest;" for i in range(len(made.textures))]
    lines = [line + f" t{i}.texelSize = 0;" for i, line in enumerate(lines)]
    lines += [f"{precision}{count if count > 1 else ''} {name};" for name, count in _OUTPUTS.items()]
    textures = ", ".join(f"t{i}" for i in range(len(made.textures)))
    lines.append(
        f"BrickNeuralTexture_{precision}({uv}, {precision}4(0.25f, 0.5f, 0.0f, 1.0f), 7.25f, {trilinear}, {textures}, "
        f"{', '.join(_OUTPUTS)});"
    )
    return "\n".join(lines)


def expected(reader, values):
    """What the function must give, in the order of `_OUTPUTS`, neutral where the material has no map."""
    values, present = in_linear_light(values, reader), reader.present
    green = 1 if reader.manifest["normal_convention"] == "opengl" else -1
    one = np.ones((len(values), 1))
    return np.concatenate(
        [
            values[:, :3],
            normals(values, green),
            1 - values[:, 6:7],
            values[:, 7:8],
            values[:, 8:9],
            values[:, 9:10] if present["specular"] else 0.5 * one,
            values[:, 10:11],
        ],
        axis=1,
    )


@pytest.mark.parametrize("large", [False, True])
def test_the_custom_function_gives_what_the_reader_gives(tmp_path, large):
    reader = material(tmp_path, large)
    made = hlsl_material(reader, "BrickNeuralTexture")
    # Unity counts v from the bottom.
    body = "ALONG_X = float2(p.z, 0.0f);\nALONG_Y = float2(0.0f, -p.z);\n"
    body += call(made, "float", "float2(p.x, 1.0f - p.y)", "p.w")
    values = [f"{name}[{c}]" if count > 1 else name for name, count in _OUTPUTS.items() for c in range(count)]
    body += "".join(f"\nresults[at + {i}] = {value};" for i, value in enumerate(values))
    source = _GRAPH + _COMPUTE + include_file(reader, tmp_path / "unity") + main_of(made.textures, body)
    points, lods = random_points(reader)
    texels = texel_points(reader)
    found = run(source, np.concatenate([points, texels]), made.textures)[:, : len(values)]
    filtered = expected(reader, reader.sample(points[:, 0], points[:, 1], lods))
    assert np.abs(found[: len(points)] - filtered).max() < 1e-3
    assert np.abs(found[len(points) :] - expected(reader, reader.decode(0).reshape(-1, 11))).max() < 1e-3


@pytest.mark.parametrize("precision", ["float", "half"])
def test_dxc_compiles_both_entries_as_a_pixel_shader(tmp_path, precision):
    reader = material(tmp_path, True)
    made = hlsl_material(reader, "BrickNeuralTexture")
    declared = "SamplerState nearest;\n" + "".join(f"Texture2D T{i};\n" for i in range(len(made.textures)))
    body = call(made, precision, f"{precision}2(uv)", "0.0f")
    body += "\nreturn float4(BaseColor * Normal, Smoothness);"
    main = f"float4 main(float2 uv : TEXCOORD0) : SV_Target\n{{\n{body}\n}}\n"
    assert compile_hlsl(_GRAPH + declared + include_file(reader, tmp_path / "unity") + main, "ps_6_0")


def test_the_package_holds_what_its_importer_reads(tmp_path):
    reader = material(tmp_path / "export", True, wrap=False)
    files = unity_package(reader, tmp_path / "unity", "Brick")
    made = hlsl_material(reader, "BrickNeuralTexture")
    importer = (tmp_path / "unity" / "Editor" / "BrickNeuralTextureImporter.cs").read_text(encoding="utf-8")
    shader = (tmp_path / "unity" / "BrickNeuralTexture.shader").read_text(encoding="utf-8")
    for texture in made.textures:
        height, width = texture.texels.shape[:2]
        assert (tmp_path / "unity" / f"Brick_{texture.label}.bytes").read_bytes() == texture.texels.tobytes()
        assert f'new Source("{texture.label}", {width}, {height})' in importer
        assert f"TEXTURE2D(_{texture.label})" in shader and f"[NoScaleOffset] _{texture.label} " in shader
    assert shader.count("{") == shader.count("}") and len(files) == 4 + len(made.textures)
    page = (tmp_path / "unity" / "Brick_README.md").read_text(encoding="utf-8")
    assert "Not in the material, and what stands for them: specular 4 % (0.5)." in page and "is clamped" in page


def test_the_shader_has_the_passes_of_all_rendering_paths_and_the_specular_map(tmp_path):
    shaders, pages = [], []
    for name, large in (("Brick", False), ("Rust", True)):
        unity_package(material(tmp_path / name, large), tmp_path / "unity", name)
        shaders.append((tmp_path / "unity" / f"{name}NeuralTexture.shader").read_text(encoding="utf-8"))
        pages.append((tmp_path / "unity" / f"{name}_README.md").read_text(encoding="utf-8"))
    passes = re.findall(r'"LightMode" = "(\w+)"', shaders[0])
    assert passes == ["UniversalForwardOnly", "ShadowCaster", "DepthOnly", "DepthNormalsOnly"]
    assert "_FORWARD_PLUS _CLUSTER_LIGHT_LOOP" in shaders[0] and "Deferred+" in pages[0]
    # Rust has no specular map.
    assert (
        "#define _SPECULAR_SETUP 1" in shaders[0] and "surface.specular = " in shaders[0] and "8 % at white" in pages[0]
    )
    assert "_SPECULAR_SETUP" not in shaders[1] and "surface.metallic = " in shaders[1] and "reflect 4 %" in pages[1]


def passes_of(folder, name="Brick"):
    """The code of each pass of the shader, URP's own files replaced by declarations and the package's include put in."""
    text = (folder / f"{name}NeuralTexture.shader").read_text(encoding="utf-8")
    (common,) = re.findall(r"HLSLINCLUDE\n(.*?)ENDHLSL", text, re.DOTALL)
    declared = (Path(__file__).parent / "unity_urp.hlsl").read_text(encoding="utf-8")
    include = (folder / f"{name}NeuralTexture.hlsl").read_text(encoding="utf-8")
    passes = {}
    for mode, code in re.findall(r'"LightMode" = "(\w+)".*?HLSLPROGRAM\n(.*?)ENDHLSL', text, re.DOTALL):
        included = "".join(f"#define INCLUDED_{file.upper()}\n" for file in re.findall(r"/(\w+)\.hlsl", common + code))
        code = (common + code).replace(f'#include "{name}NeuralTexture.hlsl"', include)
        code = re.sub(r"^ *#(pragma|include) .*\n", "", code, flags=re.MULTILINE)
        passes[mode] = included + declared + code
    return passes


KEYWORDS = {
    "UniversalForwardOnly": ["", "_NEURAL_TRILINEAR", "_ADDITIONAL_LIGHTS_VERTEX"],
    "ShadowCaster": ["", "_CASTING_PUNCTUAL_LIGHT_SHADOW"],
    "DepthOnly": [""],
    "DepthNormalsOnly": ["", "_GBUFFER_NORMALS_OCT"],
}


@pytest.mark.parametrize("large", [False, True])
def test_dxc_compiles_all_passes_of_the_shader_with_urps_functions_declared(tmp_path, large):
    unity_package(material(tmp_path / "export", large), tmp_path / "unity", "Brick")
    passes = passes_of(tmp_path / "unity")
    assert passes.keys() == KEYWORDS.keys()
    for mode, code in passes.items():
        for keyword in KEYWORDS[mode]:
            defined = f"#define {keyword} 1\n" if keyword else ""
            for stage, entry in (("vs_6_0", "Vertex"), ("ps_6_0", "Fragment")):
                assert compile_hlsl(defined + code, stage, entry=entry), (mode, keyword, stage)


def test_absent_maps_are_what_gltf_has_for_them(tmp_path):
    reader = exported(tmp_path / "export", 16, 16, present=without("diffuse", "roughness", "normal", "occlusion"))
    code = include_file(reader, tmp_path / "unity")
    for line in ("BaseColor = 1.0;", "Normal = float3(0.0, 0.0, 1.0);", "Smoothness = 1.0f - 1.0;", "Occlusion = 1.0;"):
        assert line in code
    assert compile_hlsl(passes_of(tmp_path / "unity")["UniversalForwardOnly"], "ps_6_0", entry="Fragment")


def test_names_that_differ_in_case_have_guards_of_their_own(tmp_path):
    reader = material(tmp_path / "export", False)
    guards = []
    for name in ("Brick", "brick"):
        unity_package(reader, tmp_path / name, name)
        guards += re.findall(
            r"#ifndef (\w+_INCLUDED)", (tmp_path / name / f"{name}NeuralTexture.hlsl").read_text("utf-8")
        )
    assert guards == ["Brick_NEURAL_TEXTURE_INCLUDED", "brick_NEURAL_TEXTURE_INCLUDED"]


def test_the_importer_compiles(tmp_path):
    if not shutil.which("mcs"):
        pytest.skip("no C# compiler: apt-get install mono-mcs")
    unity_package(material(tmp_path / "export", True), tmp_path / "unity", "Brick")
    sources = [
        tmp_path / "unity" / "Editor" / "BrickNeuralTextureImporter.cs",
        Path(__file__).parent / "unity_classes.cs",
    ]
    command = ["mcs", "-target:library", "-nowarn:649,169", f"-out:{tmp_path / 'importer.dll'}", *map(str, sources)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "error" not in result.stdout + result.stderr, result.stdout + result.stderr


def test_an_atlas_keeps_every_level():
    levels = [np.full((side, side, 4), side, np.uint8) for side in (8, 4, 2, 1)]
    atlas = grid_atlas(levels)
    assert atlas.shape == (8, 12, 4)
    for level, side in enumerate((8, 4, 2, 1)):
        # Where the shader looks for it.
        x, y = min(level, 1) * 8, 8 - (8 >> max(level - 1, 0))
        assert (atlas[y : y + side, x : x + side] == side).all()
