"""The package for Godot: its shader compiled and run outside of Godot, its files read by Godot's rules."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_version_2 import RandomGrid, write_version_2
from configs import HashGridConfig
from formats.reader import NeuralTextureReader
from images.colour import linear_to_srgb, srgb_to_linear
from runtime.engines.godot import dds_rgba8, godot_package
from tests.formats.reference_decoder import ALL, make_source
from tests.runtime.engines.godot_dds import read_godot_dds
from tests.runtime.engines.godot_engine import run_godot
from tests.runtime.engines.godot_harness import as_strict, compile_glsl, inlined, shade
from tests.runtime.materials import without
from training.exporting import export_material

PROJECT = Path(__file__).parent / "godot_project"
EXACT = {"noise_amount": "0.0"}


def _grids(*grids: tuple) -> list[HashGridConfig]:
    names = ("max_resolution", "n_levels", "quantize_bits", "save_bits", "interpolation")
    return [HashGridConfig(**dict(zip(names, grid))) for grid in grids]


MATERIALS = {
    "gathered": {
        "hash_grid_configs": _grids((16, 3, 4, 64, "gather"), (8, 2, 4, 32, "bilinear")),
        "n_frequencies": 2, "period_cells": 1, "phases": 2, "position_order": 1, "diffuse_space": "srgb",
        "n_neurons": 32, "n_hidden_layers": 2, "activation": "gelu", "network_precision": "int8",
    },
    "plain": {"hash_grid_configs": _grids((8, 2, 8, 32, "bilinear"), (4, 1, 8, 32, "bilinear"))},
    "odd_sides": {
        "hash_grid_configs": _grids((12, 3, 2, 8, "bilinear"), (6, 2, 8, 64, "bilinear")), "wrap": False,
        "network_precision": "float16",
    },
    # Feature curves, and a linear decoder beside the network.
    "mixed_bits": {
        "grids": [RandomGrid(16, 3, (8, 6, 5, 4, 3, 2, 1)), RandomGrid(8, 2, (8, 5, 3), gathered=False)],
        "position_order": 1, "diffuse_space": "srgb", "n_hidden_layers": 2,
    },
}  # fmt: skip


def _export(folder, convention="opengl", present=ALL, **model) -> NeuralTextureReader:
    if "grids" in model:
        write_version_2(folder, 48, 32, present=present, **model)
        return NeuralTextureReader(folder)
    source = make_source(48, 32, present, **model)
    source.normal_convention = convention
    export_material(source, folder)
    return NeuralTextureReader(folder)


def _package(tmp_path, reader: NeuralTextureReader):
    package = tmp_path / "package"
    package.mkdir()
    return package, godot_package(reader, package, "wall")


def _texels(reader: NeuralTextureReader, mip: int) -> np.ndarray:
    """Points `[N, 8]` at the centres of a mip's texels, one texel a pixel."""
    width, height = reader.mip_size(mip)
    y, x = (axis.reshape(-1) for axis in np.mgrid[:height, :width])
    steps = np.broadcast_to([1 / width, 0, 0, 1 / height], (len(x), 4))
    return np.column_stack([(x + 0.5) / width, (y + 0.5) / height, x, y, steps])


def _expected(reader: NeuralTextureReader, mip: int, flipped: bool) -> np.ndarray:
    decoded = reader.decode(mip).reshape(-1, 11)
    if reader.manifest["channels"][0]["space"] == "srgb":
        decoded[:, :3] = srgb_to_linear(decoded[:, :3])
    if flipped:
        decoded[:, 4] = 1 - decoded[:, 4]
    return np.column_stack([decoded[:, :9], np.sqrt(0.5 * decoded[:, 9])])


@pytest.mark.parametrize("name", MATERIALS)
def test_shader_gives_what_the_reader_decodes(tmp_path, name):
    convention = "directx" if name == "plain" else "opengl"
    reader = _export(tmp_path / "export", convention, **MATERIALS[name])
    package, _ = _package(tmp_path, reader)
    for mip in (0, 1, reader.stored_mips[-1]):
        shaded = shade(package, "wall", _texels(reader, mip), EXACT, tmp_path)
        error = np.abs(shaded - _expected(reader, mip, convention == "directx"))
        # The square root of specular is steep at 0.
        assert error[:, :9].max() <= 1e-3, (mip, error.max(0))
        assert np.abs(2 * shaded[:, 9] ** 2 - reader.decode(mip).reshape(-1, 11)[:, 9]).max() <= 1e-3


def test_points_beyond_the_border_wrap_or_are_clamped(tmp_path):
    for name, wraps in (("plain", True), ("odd_sides", False)):
        reader = _export(tmp_path / f"export_{name}", **MATERIALS[name])
        package = tmp_path / name
        package.mkdir()
        godot_package(reader, package, "wall")
        points = _texels(reader, 0)
        points[:, 0] += 1
        decoded = _expected(reader, 0, False).reshape(32, 48, -1)
        expected = decoded if wraps else np.broadcast_to(decoded[:, -1:], decoded.shape)
        shaded = shade(package, "wall", points, EXACT, tmp_path)
        assert np.abs(shaded - expected.reshape(-1, 10))[:, :9].max() <= 1e-3


def test_noise_draws_texels_around_the_point_and_averages_to_the_filtered_one(tmp_path):
    reader = _export(tmp_path / "export", **MATERIALS["plain"])
    package, _ = _package(tmp_path, reader)
    count, decoded = 4096, reader.decode(0)[..., :9]
    # The corner of four texels that differ most.
    corners = np.stack([decoded[y : 31 + y, x : 47 + x] for y in (0, 1) for x in (0, 1)])
    apart = np.abs(corners[:, None] - corners).max(-1) + 9 * np.eye(4)[:, :, None, None]
    y, x = np.unravel_index(apart.min((0, 1)).argmax(), (31, 47))
    assert apart[:, :, y, x].min() > 0.01
    points = np.zeros((count, 8))
    points[:, :2] = (x + 1) / 48, (y + 1) / 32
    points[:, 2:4] = np.stack(np.divmod(np.arange(count), 64), 1)
    points[:, 4:] = 1 / 48, 0, 0, 1 / 32
    shaded = shade(package, "wall", points, {}, tmp_path)[:, :9]
    error = np.abs(shaded[:, None] - corners[:, y, x]).max(2)
    drawn = error.argmin(1)
    assert error.min(1).max() <= 1e-3
    # A quarter each, within five deviations of a binomial count.
    assert (np.abs(np.bincount(drawn, minlength=4) - count / 4) < 5 * np.sqrt(count * 3 / 16)).all()


@pytest.mark.parametrize("name", MATERIALS)
def test_shader_keeps_to_the_types_that_godot_converts_none_of(tmp_path, name):
    reader = _export(tmp_path / "export", **MATERIALS[name])
    package, _ = _package(tmp_path, reader)
    code = inlined(package / "wall.gdshader")
    compile_glsl(as_strict(code), "frag", tmp_path)
    # GLSL ES shifts unsigned numbers by signed ones, Godot does not; here only ivec's are shifted by plain literals.
    for line in code.splitlines():
        if re.search(r"(<<|>>) \d+\b(?!u)", line):
            assert "ivec" in line, line
    assert not re.search(r"\b(layout|buffer|gl_\w+|for\(;;\)|\d+U)\b|\[\]\(|^#(?!include)", code, re.MULTILINE)


def test_all_names_at_the_top_begin_with_the_material(tmp_path):
    reader = _export(tmp_path / "export", **MATERIALS["gathered"])
    package, _ = _package(tmp_path, reader)
    decoder = (package / "wall.gdshaderinc").read_text("utf-8")
    names = re.findall(r"^(?:struct|const \w+|uniform sampler2D|\w+)\s+(\w+)", decoder, re.MULTILINE)
    assert names and all(name.startswith("wall_") for name in names), [n for n in names if not n.startswith("wall_")]


def test_material_names_every_texture_of_the_shader_and_no_other(tmp_path):
    reader = _export(tmp_path / "export", **MATERIALS["gathered"], present=without("normal", "specular"))
    package, written = _package(tmp_path, reader)
    material = (package / "wall.tres").read_text("utf-8")
    code = inlined(package / "wall.gdshader")
    uniforms = set(re.findall(r"^uniform \w+ (\w+)", code, re.MULTILINE))
    assert uniforms == set(re.findall(r"^shader_parameter/(\w+) = ", material, re.MULTILINE))
    resources = dict(re.findall(r'^\[ext_resource type="\w+" path="([^"]+)" id="(\d+)"\]$', material, re.MULTILINE))
    assert {path.name for path in written} == {*resources, "wall.tres", "wall.gdshaderinc", "wall_README.md"}
    assert f"load_steps={len(resources) + 1} " in material
    for texture in re.findall(r"uniform sampler2D (\w+)", code):
        assert f'shader_parameter/{texture} = ExtResource("{resources[texture + ".dds"]}")' in material
    assert "NORMAL_MAP" not in code and "SPECULAR" not in code


def test_dds_of_any_side_fits_godot_and_keeps_its_levels(tmp_path):
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 256, (side, side, 4), np.uint8) for side in (12, 6, 3)]
    (tmp_path / "grid.dds").write_bytes(dds_rgba8(levels))
    read = read_godot_dds(tmp_path / "grid.dds")
    assert [len(level) for level in read] == [16, 8, 4, 2, 1]
    assert all((level[: len(own), : len(own)] == own).all() for level, own in zip(read, levels))
    (tmp_path / "flat.dds").write_bytes(dds_rgba8([rng.integers(0, 256, (7, 256, 4), np.uint8)]))
    assert read_godot_dds(tmp_path / "flat.dds")[0].shape == (7, 256, 4)


@pytest.mark.parametrize("name", ["gathered", "odd_sides", "mixed_bits"])
def test_godot_itself_draws_the_material(tmp_path, name):
    reader = _export(tmp_path / "export", **MATERIALS[name])
    package, written = _package(tmp_path, reader)
    files = {path.name: path.read_bytes() for path in PROJECT.iterdir()}
    files |= {f"package/{path.name}": path.read_bytes() for path in written}
    items = [
        {"group": group, "mip": mip, "width": size[0], "height": size[1]}
        for mip in (0, 1, 3)  # Godot's viewports have at least 2 x 2 pixels
        for size in [reader.mip_size(mip)]
        for group in range(4)
    ]
    result = run_godot({**files, "items.json": json.dumps(items).encode()}, tmp_path)
    # A project that no editor has opened has no cache of scripts.
    assert [line for line in result["errors"] if "ERROR" in line and "global script cache" not in line] == []
    assert result["version"].startswith("4.")
    assert set(result["textures"]) == {path.stem for path in written if path.suffix == ".dds"}
    assert all(has_mips for texture, (*_, has_mips) in result["textures"].items() if "grid" in texture)
    decoded = {}
    for item, data in zip(items, result["images"], strict=True):
        maps = reader.decode(item["mip"])
        if reader.manifest["channels"][0]["space"] == "srgb":
            maps[..., :3] = srgb_to_linear(maps[..., :3])
        decoded[item["mip"]] = maps
        expected = maps[..., 3 * item["group"] : min(3 * item["group"] + 3, 11)]
        assert np.abs(_image(data, *maps.shape[:2])[..., : expected.shape[-1]] - 255 * expected).max() <= 1, item
    unlit = _image(result["unlit"], *decoded[0].shape[:2])
    error = np.abs(unlit - 255 * linear_to_srgb(decoded[0][..., :3]))
    # Godot's Compatibility renderer turns colours to linear light and back by curves that stray in the dark.
    assert error.max() <= 8 and error.mean() <= 1.5
    lit = _image(result["lit"], 96, 96)
    assert (lit[40:56, 40:56] != lit[0, 0]).any(-1).all()


def _image(data: str, height: int, width: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 3).astype(np.float64)
