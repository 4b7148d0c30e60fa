"""`export.py --shaders` writes what the page says: sources, weights with their offsets, and textures that targets read."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

import export
import runtime.slang
from configs import HashGridConfig
from formats.manifest import update_manifest
from formats.reader import NeuralTextureReader
from runtime.shader_files import shader_storage
from runtime.shaders import TARGETS
from tests.formats.reference_decoder import make_source
from tests.runtime.devices import require_compiler
from training.exporting import export_material
from utils.errors import UserError

_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "<i1"}


def _export(folder, storage="true_rate", **model):
    """Export a random model with a gathered grid and a first layer that depends on the place in a cell."""
    grids = [
        HashGridConfig(max_resolution=16, n_levels=3, quantize_bits=4, save_bits=32, interpolation="gather"),
        HashGridConfig(max_resolution=8, n_levels=2, quantize_bits=4, save_bits=16, interpolation="bilinear"),
    ]
    settings = {"hash_grid_configs": grids, "position_order": 1, "n_frequencies": 1, "network_precision": "float16"}
    source = make_source(64, 64, **{**settings, **model})
    source.storage = storage
    export_material(source, folder)
    return folder


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return _export(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def written(material, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert (
        export.main(["--load_dir", str(material), "--shaders", *TARGETS, "--cooperative_vectors", "--out", str(out)])
        == 0
    )
    return out / "shaders"


def _matrix(data, entry, rows, columns):
    dtype = np.dtype(_DTYPES[entry["precision"]])
    lines = [
        np.frombuffer(data, dtype, columns, entry["offset"] + row * entry["row_stride"]).astype(np.float64)
        for row in range(rows)
    ]
    return np.stack(lines)


def test_every_target_has_its_source_and_its_page(written):
    for target in TARGETS.values():
        stem = target.file.rsplit(".", 1)[0]
        assert (written / target.file).stat().st_size > 1000
        page = (written / f"{stem}_{target.name}.md").read_text(encoding="utf-8")
        assert f"weights{'_float32' if target.name == 'cpp' else ''}.bin" in page and "hash_grid_0.dds" in page
    for name in ("hlsl", "spv"):
        assert (written / f"neural_texture_cooperative.{name}").stat().st_size > 1000


def test_pages_name_the_places_that_the_sources_say(written):
    hlsl = (written / "neural_texture_hlsl.md").read_text(encoding="utf-8")
    assert "| `grid_0` | register(t0, space0) | texture | R32_UINT |" in hlsl
    wgsl, page = ((written / f"neural_texture{end}").read_text(encoding="utf-8") for end in (".wgsl", "_wgsl.md"))
    for line in wgsl.splitlines():
        if line.startswith("@binding("):
            name = line.split("var")[1].split("> ")[-1].split(":")[0].strip()
            number = line.split("(")[1].split(")")[0]
            assert f"| `{name}` | @group(0) @binding({number}) |" in page


def test_textures_are_packed_where_a_target_could_not_read_them(material, written):
    manifest = NeuralTextureReader(written).manifest
    assert [grid["format"] for grid in manifest["grids"]] == ["R32_UINT", "R32_UINT"]
    assert shader_storage(NeuralTextureReader(material).manifest) == "packed"
    np.testing.assert_array_equal(NeuralTextureReader(written).decode(0), NeuralTextureReader(material).decode(0))


def test_weights_lie_where_their_json_says(written):
    reader, data = NeuralTextureReader(written), (written / "weights.bin").read_bytes()
    layout = json.loads((written / "weights.json").read_text(encoding="utf-8"))
    assert layout["bytes"] == len(data)
    for layer, entry in zip(reader.layers[1:], layout["layers"], strict=True):
        rows = min(len(layer.weights), entry["rows"])
        np.testing.assert_array_equal(_matrix(data, entry, rows, entry["columns"]), layer.weights[:rows])
        assert entry["offset"] % 64 == 0 and entry["row_stride"] % 16 == 0
    # The first tap of grid 0 comes first; in the export it follows the encoding of u and v.
    first_layer = layout["first_layer"]
    entry = {**first_layer["grids"][0], "precision": first_layer["precision"]}
    first = _matrix(data, entry, len(reader.layers[0].weights), 8)
    np.testing.assert_array_equal(first, reader.layers[0].weights[:, 2:10])


def test_cpp_reads_the_same_weights_in_float32(written):
    code = (written / "neural_texture.cpp").read_text(encoding="utf-8")
    assert "weights_float32.bin" in code and "/weights.bin" not in code
    layout = json.loads((written / "weights_float32.json").read_text(encoding="utf-8"))
    data, reader = (written / "weights_float32.bin").read_bytes(), NeuralTextureReader(written)
    assert layout["bytes"] == len(data) and layout["folded"]["precision"] == "float32"
    entry = layout["layers"][-1]
    matrix = _matrix(data, entry, entry["rows"], entry["columns"])
    np.testing.assert_array_equal(matrix[:11], reader.layers[-1].weights[:11])


def test_a_float32_network_has_one_file_of_weights(tmp_path):
    folder = _export(tmp_path / "material", network_precision="float32")
    export.main(["--load_dir", str(folder), "--shaders", "cpp", "wgsl", "--out", str(tmp_path)])
    names = {path.name for path in (tmp_path / "shaders").iterdir()}
    assert "weights.bin" in names and "weights_float32.bin" not in names


def test_cpp_alone_needs_no_other_weights(material, tmp_path):
    export.main(["--load_dir", str(material), "--shaders", "cpp", "--out", str(tmp_path)])
    names = {path.name for path in (tmp_path / "shaders").iterdir()}
    assert "weights_float32.bin" in names and "weights.bin" not in names


def test_folded_matrices_are_the_layer_at_a_place(written):
    reader, data = NeuralTextureReader(written), (written / "weights.bin").read_bytes()
    layout = json.loads((written / "weights.json").read_text(encoding="utf-8"))
    fold, weights = layout["folded"], reader.layers[0].weights.astype(np.float64)
    assert fold["periods"][0] == [4, 4] and fold["matrices"] * fold["matrix_bytes"] <= layout["bytes"]
    # Texel (2, 1) lies at (1/8, 7/8) of its cell: texel centres are at 1/8, 3/8, 5/8, 7/8, and texel 2 is a cell's first.
    number = fold["firsts"][0] + 1 * 4 + 2
    grid = fold["grids"][0]
    start = grid["offset"] + number * fold["matrix_bytes"]
    places = [{**fold, **grid, "offset": start + tap * grid["tap_bytes"]} for tap in range(4)]
    x, y = 2 * 1 / 8 - 1, 2 * 7 / 8 - 1
    taps, products = 2, 2 + 32 + 4 + 1
    expected = weights[:, taps : taps + 32] + sum(
        factor * weights[:, products + 32 * k : products + 32 * (k + 1)] for k, factor in enumerate((x, y, x * y))
    )
    found = np.concatenate([_matrix(data, place, len(weights), 8) for place in places], axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_unfolded_weights_are_smaller_and_say_so(material, tmp_path):
    export.main(["--load_dir", str(material), "--shaders", "wgsl", "--fold", "False", "--out", str(tmp_path)])
    layout = json.loads((tmp_path / "shaders" / "weights.json").read_text(encoding="utf-8"))
    assert "folded" not in layout
    page = (tmp_path / "shaders" / "neural_texture_wgsl.md").read_text(encoding="utf-8")
    assert "matrices of all places" not in page


def test_files_of_two_materials_do_not_share_names(material, tmp_path):
    names = []
    for name in ("Rock 1", "Moss"):
        export.main(["--load_dir", str(material), "--shaders", "hlsl", "--name", name, "--out", str(tmp_path / name)])
        names.append({path.name for path in (tmp_path / name / "shaders").iterdir()} - {"manifest.json"})
    assert "Rock_1_neural_texture.hlsl" in names[0] and "Moss_weights.bin" in names[1]
    assert not names[0] & names[1]


def test_the_exported_cpp_file_is_a_program_on_its_own(written, tmp_path):
    compiler = require_compiler()
    main = tmp_path / "main.cpp"
    main.write_text(
        f'#include "{(written / "neural_texture.cpp").as_posix()}"\n#include <cstdio>\n'
        "int main(int, char** a) { try { auto s = NeuralTexture(a[1]).Load(3, 5, 0);"
        ' std::printf("%.6f %.6f", s.roughness, s.normal.y); }'
        " catch (const std::runtime_error& e) { std::puts(e.what()); return 1; } }\n"
    )
    program = tmp_path / "program"
    subprocess.run([compiler, "-O1", "-w", str(main), "-o", str(program)], check=True)
    run = subprocess.run([program, written], capture_output=True, text=True, check=True)
    decoded = NeuralTextureReader(written).decode(0)[5, 3]
    np.testing.assert_allclose([float(x) for x in run.stdout.split()], [decoded[6], decoded[4]], atol=1e-3)
    missing = subprocess.run([program, tmp_path], capture_output=True, text=True)
    assert missing.returncode == 1 and "hash_grid_0.dds is missing" in missing.stdout


def test_two_named_materials_fit_one_program(material, tmp_path):
    compiler = require_compiler()
    for name in ("Rock", "Moss"):
        arguments = ["--shaders", "cpp", "--name", name, "--shader_precision", "float16", "--out", str(tmp_path / name)]
        export.main(["--load_dir", str(material), *arguments])
    main = tmp_path / "main.cpp"
    includes = "".join(f'#include "{name}/shaders/{name}_neural_texture.cpp"\n' for name in ("Rock", "Moss"))
    main.write_text(
        f'{includes}#include <cstdio>\nint main() {{ Rock::NeuralTexture rock("Rock/shaders"); float d[2] = {{ 0.01f, 0 }};'
        ' float n[4] = {}; Moss::NeuralTexture moss("Moss/shaders"); float none = 0.0f / 0.0f;'
        " rock.Sample(none, 1 / (none * 0 + 1e-30f), 0);"
        ' std::printf("%.6f %.6f", rock.Load(1, 2, 0).roughness, moss.SampleStochastic(0.5f, 0.5f, d, d, n).roughness); }'
    )
    subprocess.run([compiler, "-O1", "-w", str(main), "-o", str(tmp_path / "program")], check=True)
    run = subprocess.run([tmp_path / "program"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(run.stdout.split()[0]) == pytest.approx(NeuralTextureReader(material).decode(0)[2, 1, 6], abs=1e-3)


def test_a_folder_of_another_material_is_left_alone(material, tmp_path):
    arguments = ["--load_dir", str(material), "--shaders", "cpp", "--out", str(tmp_path)]
    export.main([*arguments, "--name", "Rock"])
    before = {path: path.read_bytes() for path in (tmp_path / "shaders").iterdir()}
    with pytest.raises(UserError, match="holds the export of 'Rock'; choose another folder"):
        export.main([*arguments, "--name", "Moss"])
    assert {path: path.read_bytes() for path in (tmp_path / "shaders").iterdir()} == before


def test_sources_of_an_earlier_export_do_not_stay_beside_other_weights(material, tmp_path):
    for target in ("cpp", "hlsl"):
        export.main(["--load_dir", str(material), "--shaders", target, "--out", str(tmp_path)])
    left = {path.name for path in (tmp_path / "shaders").iterdir()}
    assert "neural_texture.hlsl" in left and not any("cpp" in name for name in left)


def test_a_hostile_name_stays_in_its_comment(material, tmp_path):
    folder = tmp_path / "material"
    shutil.copytree(material, folder)
    update_manifest(folder, {"name": "rust\nint injected() { return 1; } //\\"})
    export.main(["--load_dir", str(folder), "--shaders", "slang", "cpp", "wgsl", "--out", str(tmp_path)])
    for path in (tmp_path / "shaders").glob("neural_texture.*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "injected" not in line or line.startswith("// ")


def test_webgpu_refuses_what_it_cannot_read(material, tmp_path):
    with pytest.raises(UserError, match="WebGPU has no B4G4R4A4_UNORM.*--storage packed"):
        export.main(
            ["--load_dir", str(material), "--shaders", "wgsl", "--storage", "true_rate", "--out", str(tmp_path)]
        )


def test_a_missing_compiler_is_named_with_what_to_install(material, tmp_path, monkeypatch):
    runtime.slang.slangc_path.cache_clear()
    monkeypatch.setattr(runtime.slang.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install slangtorch"):
        export.main(["--load_dir", str(material), "--shaders", "wgsl", "--out", str(tmp_path)])
    monkeypatch.undo()
    runtime.slang.slangc_path.cache_clear()
