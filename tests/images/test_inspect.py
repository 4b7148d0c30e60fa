"""`dataset.py --inspect`: a table of every map, a contact sheet, a page for several materials, and one line for a fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import images.reading as reading
import reporting.inspection_sheet as inspection_sheet
from configs import TEXTURE_CHANNELS
from dataset import load_texture_set
from reporting.inspection import THUMBNAIL, describe, inspect_material
from reporting.inspection_sheet import NAMES, TILE, draw_row, draw_sheet, inspect_materials, sheet_path
from reporting.pictures import GAP
from tests.images.gltf_files import png, textured, write_glb
from tests.images.surfaces import coded, heights, normals, write
from utils.errors import UsageError, UserError

ROOT = Path(__file__).resolve().parents[2]


def material(folder: Path, directx: bool = True) -> Path:
    """A material with a colour map, DirectX normals that are not named so, a packed file and 16-bit heights."""
    folder.mkdir(parents=True)
    height = heights(128)
    rng = np.random.default_rng(0)
    write(folder / "wall_albedo.png", rng.integers(51, 205, (128, 128, 3)).astype(np.uint8))
    write(folder / "wall_normal.png", coded(normals(height, directx=directx)))
    write(folder / "wall_orm.png", rng.integers(0, 255, (128, 128, 3)).astype(np.uint8))
    write(folder / "wall_height.png", coded(height, 16))
    write(folder / "wall_emissive.png", rng.integers(0, 255, (128, 128, 3)).astype(np.uint8))
    return folder


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    line = [sys.executable, str(ROOT / "dataset.py"), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, encoding="utf-8")


def test_a_map_is_described_by_file_channel_depth_range_and_reason(tmp_path: Path) -> None:
    found = describe("wall", load_texture_set(material(tmp_path / "wall")))
    rows = {facts.name: facts for facts in found.maps}
    assert list(rows) == ["diffuse", "normal", "roughness", "occlusion", "metallic", "displacement"]
    assert rows["diffuse"].cells[:6] == ["diffuse", "wall_albedo.png", "RGB", "128 x 128", "8 bit", "0.2 .. 0.8"]
    assert [rows[name].channel for name in ("roughness", "occlusion", "metallic", "displacement")] == [
        "G",
        "R",
        "B",
        "grey",
    ]
    assert rows["displacement"].depth == "16 bit"
    assert "keyword albedo" in rows["diffuse"].why and "DirectX" in rows["normal"].guess
    assert "guess: DirectX" in rows["normal"].why and not rows["diffuse"].guess
    assert found.missing == ["specular"] and found.others == {"wall_emissive.png": "emissive"}
    assert any("wall_emissive.png" in line and "emissive" in line for line in found.lines)
    assert "128 x 128" in found.summary and "directx normals" in found.summary


def test_percentiles_lie_within_the_limits_and_leave_outliers_out(tmp_path: Path) -> None:
    values = np.full((200, 200), 100, np.uint8)
    values[0, :2] = 0, 255
    values[:, 100:] = 150
    write(tmp_path / "a_height.png", values)
    (facts,) = describe("a", load_texture_set(tmp_path)).maps
    assert (facts.limits, facts.most) == ("0 .. 1", "0.392 .. 0.588")


def test_heights_of_floating_point_are_shown_in_their_own_units(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs writes the image")
    image = np.linspace(-3, 12, 64 * 64, dtype=np.float32).reshape(64, 64)
    (tmp_path / "a_height.tif").write_bytes(imagecodecs.tiff_encode(image))
    (facts,) = describe("a", load_texture_set(tmp_path)).maps
    assert facts.limits == "-3 .. 12" and facts.depth == "float"


def test_a_raised_limit_of_pixels_holds_for_the_table_as_well(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "a_albedo.png", np.full((8, 8), 90, np.uint8))
    # The limit that stands where nobody raises it.
    monkeypatch.setattr(reading.image_size, "__defaults__", (10,))
    found = inspect_material("a", str(tmp_path), load_texture_set)
    assert not found.error and found.maps[0].size == "8 x 8"


def test_large_maps_are_kept_small_for_the_sheet(tmp_path: Path) -> None:
    write(tmp_path / "a_albedo.png", np.zeros((1024, 2048), np.uint8))
    (facts,) = describe("a", load_texture_set(tmp_path)).maps
    assert THUMBNAIL <= max(facts.picture.size) < 2 * THUMBNAIL


def test_a_row_has_a_tile_in_the_column_of_every_map_and_marks_guesses(tmp_path: Path) -> None:
    found = describe("wall", load_texture_set(material(tmp_path / "wall")))
    row = np.asarray(draw_row(found)).astype(int)
    for index, name in enumerate(TEXTURE_CHANNELS):
        left = NAMES + index * (TILE + GAP)
        tile = row[GAP : GAP + TILE, left : left + TILE]
        marked = (np.abs(tile[0] - (255, 176, 64)) == 0).all()
        assert marked == (name == "normal"), name
        centre = tile[TILE // 3 : 2 * TILE // 3, TILE // 3 : 2 * TILE // 3]
        assert (centre.std() > 5) == (name != "specular"), name
    sheet = draw_sheet([draw_row(found), draw_row(found)])
    assert sheet.height > 2 * row.shape[0] and sheet.width == row.shape[1]


def test_long_names_stay_within_their_column(tmp_path: Path) -> None:
    name = "a" * 80 + "_albedo.png"
    write(tmp_path / name, np.full((64, 64), 90, np.uint8))
    row = np.asarray(draw_row(describe("b" * 120, load_texture_set(tmp_path)))).astype(int)
    left = NAMES + TILE
    assert (np.abs(row[:, left : left + GAP] - row[0, 0]) < 3).all()
    assert (np.abs(row[:, NAMES - GAP : NAMES] - row[0, 0]) < 3).all()


def test_the_command_prints_the_table_and_writes_the_sheet(tmp_path: Path) -> None:
    material(tmp_path / "wall")
    done = command("--inspect", "wall", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in (
        "wall_orm.png",
        "16 bit",
        "guess",
        "missing: specular",
        "wall_emissive.png (emissive)",
        "wall_preview.png",
    ):
        assert word in done.stdout, word
    with Image.open(tmp_path / "wall_preview.png") as sheet:
        assert sheet.width > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wall", "wall_preview.png"]


@pytest.mark.parametrize("inside", [True, False])
def test_the_sheet_is_taken_for_no_map(tmp_path: Path, inside: bool) -> None:
    folder = material(tmp_path / "wood_color")
    for _ in range(2):
        done = command("--inspect", folder, cwd=folder if inside else tmp_path)
        assert done.returncode == 0, done.stderr
    found = load_texture_set(folder)
    assert found.files["diffuse"] == "wall_albedo.png"
    assert ("wood_color_preview.png" in found.others) == inside
    assert "materials:" not in command(tmp_path, cwd=tmp_path).stdout


def test_the_table_alone_writes_nothing(tmp_path: Path) -> None:
    material(tmp_path / "wall")
    done = command("wall", cwd=tmp_path)
    assert done.returncode == 0 and "wall_orm.png" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["wall"]


def test_many_materials_are_shown_and_a_fault_costs_its_line_and_the_exit_code(tmp_path: Path) -> None:
    material(tmp_path / "all" / "stone" / "wall")
    material(tmp_path / "all" / "floor", directx=False)
    (tmp_path / "all" / "broken").mkdir()
    (tmp_path / "all" / "broken" / "x_albedo.png").write_bytes(b"no image")
    done = command("--inspect", "all", "--out", "out/sheet.png", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: broken: ") and "x_albedo.png" in line
    assert "stone/wall" in done.stdout and "floor" in done.stdout and "1 cannot be read" in done.stdout
    page = (tmp_path / "out" / "sheet.html").read_text("utf-8")
    for word in (
        "stone/wall",
        "floor",
        "broken",
        "x_albedo.png",
        "keyword albedo",
        "data:image/png;base64",
        "Maps of all",
    ):
        assert word in page, word
    assert 'src="http' not in page and "href=" not in page
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_every_material_of_a_gltf_file_is_shown(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "scene.glb", [textured() | {"name": "wall"}, {"name": "plain"}, textured()], [png()])
    done = command("--inspect", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "scene/wall: 8 x 8" in done.stdout and "scene/material: 8 x 8" in done.stdout
    assert "plain" not in done.stdout and (tmp_path / "scene_preview.html").is_file()


def test_more_materials_than_a_sheet_holds_go_on_further_ones(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(inspection_sheet, "MATERIALS_A_SHEET", 2)
    write(tmp_path / "a_albedo.png", np.full((8, 8), 90, np.uint8))
    inputs = {f"m{index}": str(tmp_path) for index in range(5)}
    assert inspect_materials(inputs, load_texture_set, (), tmp_path / "out" / "s.png") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["s.html", "s.png", "s_2.html", "s_2.png", "s_3.html", "s_3.png"]
    assert "m4" in (tmp_path / "out" / "s_3.html").read_text("utf-8")
    assert "s_3.png" in capsys.readouterr().out


def test_the_only_material_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        inspect_materials({"nowhere": str(tmp_path / "nowhere")}, load_texture_set)
    assert inspect_material("x", str(tmp_path), load_texture_set).error
    done = command("--inspect", "nowhere", cwd=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [(), ("a", "--inspect", "a"), ("a", "--out", "b"), ("--inspect", "a", "--out", "b.jpg")]
)
def test_a_command_that_cannot_be_right_is_refused_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "a_albedo.png", np.full((8, 8), 90, np.uint8))
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_where_the_sheet_goes(tmp_path: Path) -> None:
    folder = tmp_path / "wall"
    assert sheet_path(folder, None) == Path("wall_preview.png")
    assert sheet_path(folder, "x/y.png") == Path("x/y.png")
    assert sheet_path(folder, "x") == Path("x/wall_preview.png")
    (tmp_path / "taken").write_text("a file")
    for out in ("x.jpg", str(tmp_path / "taken")):
        with pytest.raises(UsageError, match="--out"):
            sheet_path(folder, out)
