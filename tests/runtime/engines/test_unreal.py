"""The package for Unreal: its code run inside what Unreal makes of a Custom node, its script against a stand-in."""

import runpy
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image

from benchmarks.random_exports import preset
from formats.reader import NeuralTextureReader
from runtime.engines.hlsl_material import hlsl_material
from runtime.engines.hlsl_struct import declarations, hlsl_struct
from runtime.engines.unreal import custom_node_code, custom_node_inputs, unreal_material, unreal_package
from tests.runtime.dxc import compile_hlsl
from tests.runtime.engines.hlsl_harness import main_of, material, normals, random_points, run, texel_points
from tests.runtime.exports import in_linear_light
from tests.runtime.materials import exported, without
from training.exporting import export_material

_AROUND = """
#define MaterialFloat float
#define MaterialFloat2 float2
#define MaterialFloat3 float3
#define MaterialFloat4 float4
struct FMaterialPixelParameters { float4 SvPosition; };
struct FViewUniforms { uint StateFrameIndex; };
static FViewUniforms View;
"""


def node(made, name="Brick", frame=3):
    """The Custom node as Unreal compiles it, and an entry that calls it in this frame."""
    outputs = made.outputs.values()
    kinds = {1: "MaterialFloat", 3: "MaterialFloat3"}
    parameters = ["FMaterialPixelParameters Parameters", "MaterialFloat2 UV", "MaterialFloat2 UVAlongX"]
    parameters += ["MaterialFloat2 UVAlongY", "MaterialFloat Trilinear"]
    parameters += [f"Texture2D {t.label}, SamplerState {t.label}Sampler" for t in made.textures]
    parameters += [f"inout {kinds[count]} {output}" for output, count in outputs]
    arguments = ["parameters", "p.xy", "float2(p.z, 0.0f)", "float2(0.0f, p.z)", "p.w"]
    arguments += [f"T{i}, nearest" for i in range(len(made.textures))] + [output for output, _ in outputs]
    lines = [f"float{count if count > 1 else ''} {output} = 0;" for output, count in outputs]
    lines += ["FMaterialPixelParameters parameters;", "parameters.SvPosition = float4(thread.x, 0.0f, 0.0f, 0.0f);"]
    lines += [f"View.StateFrameIndex = {frame};", f"float3 color = CustomExpression0({', '.join(arguments)});"]
    values = [f"color[{c}]" for c in range(3)]
    values += [f"{output}[{c}]" if count > 1 else output for output, count in outputs for c in range(count)]
    lines += [f"results[at + {i}] = {value};" for i, value in enumerate(values)]
    function = f"MaterialFloat3 CustomExpression0({', '.join(parameters)})\n{{\n{custom_node_code(made, name)}\n}}\n"
    return _AROUND + function + main_of(made.textures, "\n".join(lines))


def expected(reader, made, values):
    """What the node must give, in the order of `node`'s results."""
    values = in_linear_light(values, reader)
    columns = {"roughness": 6, "occlusion": 7, "metallic": 8, "specular": 9, "displacement": 10}
    parts = [values[:, :3]]
    for key in made.outputs:
        parts.append(normals(values, -made.green) if key == "normal" else values[:, columns[key], None])
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("large, wrap", [(False, True), (True, True), (True, False)])
def test_a_custom_node_gives_what_the_reader_gives(tmp_path, large, wrap):
    reader = material(tmp_path, large, wrap)
    made = unreal_material(reader, "Brick")
    assert ("Weights" in [texture.label for texture in made.textures]) == large
    points, lods = random_points(reader)
    texels = texel_points(reader)
    found = run(node(made), np.concatenate([points, texels]), made.textures)
    filtered = expected(reader, made, reader.sample(points[:, 0], points[:, 1], lods))
    exact = expected(reader, made, reader.decode(0).reshape(-1, 11))
    count = filtered.shape[1]
    assert np.abs(found[: len(points), :count] - filtered).max() < 1e-3
    assert np.abs(found[len(points) :, :count] - exact).max() < 1e-3


def test_noise_does_not_repeat_after_eight_frames(tmp_path):
    reader = material(tmp_path, False)
    made = unreal_material(reader, "Brick")
    points = texel_points(reader)
    # Corners of four texels, of which each frame draws one.
    points[:, :2] += 0.5 / np.array(reader.mip_size(0))
    points[:, 2] = 1 / reader.mip_size(0)[0]
    first, later = (run(node(made, frame=frame), points, made.textures)[:, :3] for frame in (3, 11))
    assert (first != later).any(axis=1).mean() > 0.3


@pytest.mark.parametrize("flags", [("cs_6_0",), ("cs_6_6", "-HV", "2021"), ("cs_6_0", "-spirv")])
@pytest.mark.parametrize("large", [False, True])
def test_dxc_compiles_a_custom_node(tmp_path, large, flags):
    assert compile_hlsl(node(unreal_material(material(tmp_path, large), "Brick")), *flags)


def test_two_materials_fit_into_one_shader(tmp_path):
    made = [hlsl_material(material(tmp_path / name, True), f"F{name}NeuralTexture") for name in ("Brick", "Rust")]
    code = "\n".join(entry.code for entry in made)
    names = [entry.name for entry in declarations(code)]
    assert len(names) == len(set(names))
    assert compile_hlsl(code + "[numthreads(1, 1, 1)] void main() {}", "cs_6_0")


def test_a_struct_holds_what_its_functions_use_and_no_more():
    code = (
        "#pragma pack_matrix(column_major)\n// a comment; with {\nTexture2D<float4 > t : register(t0);\n"
        "cbuffer c : register(b0) { int n; }\nRWStructuredBuffer<float > out_0 : register(u0);\n"
        "static const int  A_0[int(2)] = { int(1), int(2) };\nstruct NeuralTextureSample { float4 v; };\n"
        "int helper_0(int i) { return A_0[i]; }\n"
        "NeuralTextureSample F(int i) { NeuralTextureSample s; s.v = t.Load(int3(helper_0(i), 0, 0)); return s; }\n"
        "[numthreads(1, 1, 1)]\nvoid main(uint3 id : SV_DispatchThreadID) { out_0[n] = F(1).v.x; }\n"
    )
    assert [(entry.kind, entry.name) for entry in declarations(code)] == [
        ("resource", "t"),
        ("buffer", "c"),
        ("resource", "out_0"),
        ("constant", "A_0"),
        ("struct", "NeuralTextureSample"),
        ("function", "helper_0"),
        ("function", "F"),
        ("function", "main"),
    ]
    made = hlsl_struct(code, "Rust", ["F"])
    assert made.resources == ["t"] and made.sample == "RustSample"
    text = made.text()
    assert "main" not in text and "out_0" not in text and "register" not in text
    assert text.index("static const int  Rust_A_0[2]") < text.index("struct RustSample") < text.index("struct Rust\n")
    inside = hlsl_struct(code, "Rust", ["F"], in_function=True).text()
    assert inside.index("struct Rust\n") < inside.index("static const int  A_0[2]") < inside.index("return A_0[i]")


class Editor:
    """Stands in for the editor's Python module, and records what a script does with it."""

    def __init__(self):
        self.assets, self.links, self.properties, self.constants, self.module = {}, [], {}, {}, MagicMock()
        module = self.module
        module.load_asset.side_effect = self.assets.get
        module.EditorAssetLibrary.does_asset_exist.side_effect = self.assets.__contains__
        tools = module.AssetToolsHelpers.get_asset_tools.return_value
        tools.import_asset_tasks.side_effect = self.import_tasks
        tools.create_asset.side_effect = lambda name, path, *_: self.assets.setdefault(f"{path}/{name}", Thing())
        for name in ("AssetImportTask", "CustomInput", "CustomOutput"):
            setattr(module, name, Thing)
        library = module.MaterialEditingLibrary
        library.create_material_expression.side_effect = lambda material, kind, x, y: Thing(kind)
        library.connect_material_expressions.side_effect = lambda *link: self.links.append(link) or True
        library.connect_material_property.side_effect = self.connect_property

    def connect_property(self, node, output, place):
        if "r" in node.values:
            self.constants[place] = node.values["r"]
        else:
            self.properties[output] = place

    def import_tasks(self, tasks):
        for task in tasks:
            with Image.open(task.values["filename"]) as image:
                texels = np.asarray(image)
            thing = Thing()
            thing.texels = texels
            self.assets[f"{task.values['destination_path']}/{task.values['destination_name']}"] = thing


class Thing:
    """An object of the editor with properties."""

    def __init__(self, kind=None):
        self.kind, self.values = kind, {}

    def set_editor_property(self, key, value):
        self.values[key] = value

    def get_name(self):
        return "Thing"


def test_the_script_imports_textures_and_connects_the_material(tmp_path, monkeypatch):
    reader = material(tmp_path / "export", True)
    made = unreal_material(reader, "Brick")
    files = unreal_package(reader, tmp_path / "unreal", "Brick")
    assert all(path.is_file() for path in files)
    editor = Editor()
    monkeypatch.setitem(sys.modules, "unreal", editor.module)
    for _ in range(2):  # A second run replaces what the first one made.
        editor.links.clear()
        runpy.run_path(str(tmp_path / "unreal" / "import_Brick.py"), run_name="__main__")
    root = "/Game/NeuralTextures/Brick"
    for texture in made.textures:
        asset = editor.assets[f"{root}/T_Brick_{texture.label}"]
        assert (asset.texels == texture.texels).all()
        assert asset.values["srgb"] is False and asset.values["never_stream"] is True
    assert f"{root}/M_Brick" in editor.assets
    (custom,) = {id(link[2]): link[2] for link in editor.links if "code" in link[2].values}.values()
    assert custom.values["code"] == custom_node_code(made, "Brick")
    asked = [entry.values["input_name"] for entry in custom.values["inputs"]]
    assert asked == custom_node_inputs(made)
    assert sorted(link[3] for link in editor.links if link[2] is custom) == sorted(asked)
    outputs = {entry.values["output_name"] for entry in custom.values["additional_outputs"]}
    assert outputs == {output for output, _ in made.outputs.values()} and "Specular" not in outputs
    assert set(editor.properties) == {"", *outputs} - {"Displacement"} and not editor.constants


def test_absent_maps_get_constants_where_unreals_own_values_are_others(tmp_path, monkeypatch):
    reader = exported(tmp_path / "export", 16, 16, present=without("diffuse", "roughness", "specular"))
    unreal_package(reader, tmp_path / "unreal", "Brick")
    editor = Editor()
    monkeypatch.setitem(sys.modules, "unreal", editor.module)
    runpy.run_path(str(tmp_path / "unreal" / "import_Brick.py"), run_name="__main__")
    properties = editor.module.MaterialProperty
    assert editor.constants == {properties.MP_BASE_COLOR: 1, properties.MP_ROUGHNESS: 1}
    assert set(editor.properties) == {"Normal", "Occlusion", "Metallic"}
    page = (tmp_path / "unreal" / "Brick_README.md").read_text(encoding="utf-8")
    assert "roughness 1" in page and "Constant of 1 with Base Color and Roughness" in page


def test_what_the_plugin_can_read_lies_in_a_folder_under_its_names_with_settings_on_the_page(tmp_path):
    export_material(preset("ue5"), tmp_path / "export", name="Brick")
    readers = {"Brick": NeuralTextureReader(tmp_path / "export"), "Rust": material(tmp_path / "large", True)}
    pages = {}
    for name, reader in readers.items():
        unreal_package(reader, tmp_path / "unreal", name)
        pages[name] = (tmp_path / "unreal" / f"{name}_README.md").read_text(encoding="utf-8")
        assert "not run" in pages[name] and "multiply-adds" in pages[name]
    plugin = tmp_path / "unreal" / "plugin" / "Brick"
    files = {path.name for path in plugin.iterdir()}
    assert files == {"manifest.json", "network_data.npz", "hash_grid_0.dds", "hash_grid_1.dds"}
    assert (NeuralTextureReader(plugin).decode(0) == readers["Brick"].decode(0)).all()
    assert "`plugin/Brick` holds" in pages["Brick"] and "hidden activation leaky_relu" in pages["Brick"]
    assert not (tmp_path / "unreal" / "plugin" / "Rust").exists() and "`plugin/" not in pages["Rust"]
