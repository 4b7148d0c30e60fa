"""Folders as they come: a material in folders of its own, and all materials below a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dataset import get_texture_config, load_texture_set
from images.folders import largest_of_one
from images.inputs import input_exists, material_inputs, material_maps
from tests.images.files import flat, refusal, save
from tests.images.gltf_files import png, textured, write_glb

TYPES = get_texture_config()
REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def make(folder: Path, *names: str, size: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("x_albedo.png", "x_roughness.png"):
        save(folder / name, flat(size, size, (128, 128, 255) if "normal" in name else 90))
    return folder


def found(folder: Path, **options) -> dict[str, str]:
    """Names of the materials below a folder, and where they lie in it."""
    return {
        one.name: os.path.relpath(one.data_dir, folder).replace(os.sep, "/")
        for one in material_inputs(folder, TYPES, **options)
    }


def test_materials_at_any_depth_are_found_in_order_by_their_paths(tmp_path):
    for name in ("wood/oak", "Stone/wet/rock", "stone_b", "岩/石", "a/b/c/d/e"):
        make(tmp_path / name)
    assert list(found(tmp_path)) == ["a/b/c/d/e", "Stone/wet/rock", "stone_b", "wood/oak", "岩/石"]
    assert all(name == place for name, place in found(tmp_path).items())


def test_a_folder_of_maps_takes_the_name_of_the_folder_it_lies_in(tmp_path):
    make(tmp_path / "rock" / "textures")
    make(tmp_path / "wood" / "Maps" / "4K")
    (tmp_path / "wood" / "meshes").mkdir()
    assert found(tmp_path) == {"rock": "rock", "wood": "wood"}
    textures = load_texture_set(tmp_path / "wood")
    assert textures.name == "wood" and textures.present["roughness"]
    assert any("Maps" in notice for notice in textures.notices)


def test_what_else_lies_beside_a_folder_of_maps_is_found_too(tmp_path):
    make(tmp_path / "rock" / "textures")
    make(tmp_path / "rock" / "wet")
    assert found(tmp_path) == {"rock": "rock", "rock/wet": "rock/wet"}


def test_of_several_resolutions_the_largest_is_taken_with_a_line(tmp_path):
    for name, size in (("1K", 8), ("2K", 16), ("512", 4)):
        make(tmp_path / "rock" / name, size=size)
    assert found(tmp_path) == {"rock": "rock"}
    textures = load_texture_set(tmp_path / "rock")
    assert (textures.name, textures.width) == ("rock", 16)
    assert any("2K" in notice and "1K" in notice and "512" in notice for notice in textures.notices)


@pytest.mark.parametrize(
    ("names", "largest"),
    [
        (["1K", "8k", "4K"], "8k"),
        (["rock_1k", "rock_4k"], "rock_4k"),
        (["2K-JPG", "2K-PNG"], "2K-PNG"),
        (["512", "1024x1024", "2048px"], "2048px"),
        (["rock_1k", "wood_4k"], None),
        (["rock", "rock_4k"], None),
        ([], None),
    ],
)
def test_names_that_differ_in_resolution_alone_are_told_from_others(names, largest):
    assert largest_of_one(names) == largest


def test_materials_of_two_resolutions_are_two_groups_but_one_material_by_the_word_of_the_user(tmp_path):
    make(tmp_path / "rock_1k")
    make(tmp_path / "rock_2k", size=16)
    assert list(found(tmp_path)) == ["rock_1k", "rock_2k"]
    assert load_texture_set(tmp_path).width == 16


def test_a_map_a_folder_is_one_material(tmp_path):
    make(tmp_path / "rock" / "Base Color", "x.png")
    make(tmp_path / "rock" / "Normal", "x_normal.png")
    make(tmp_path / "rock" / "Roughness", "x.png")
    (tmp_path / "rock" / "fbx").mkdir()
    assert found(tmp_path) == {"rock": "rock"}
    textures = load_texture_set(tmp_path / "rock")
    assert [name for name, present in textures.present.items() if present] == ["diffuse", "normal", "roughness"]
    assert any("Base Color" in notice for notice in textures.notices)


def test_folders_that_are_named_after_maps_but_hold_others_are_materials_of_their_own(tmp_path):
    make(tmp_path / "color", "albedo.png")
    make(tmp_path / "rough", "albedo.png")
    assert list(found(tmp_path)) == ["color", "rough"]


def test_one_folder_in_a_folder_is_the_material_whatever_its_name(tmp_path):
    make(tmp_path / "download" / "some" / "where")
    assert load_texture_set(tmp_path / "download").name == "download"


def test_several_materials_are_refused_in_one_line_that_names_the_batch(tmp_path):
    for name in ("rock", "wood", "sand/dry"):
        make(tmp_path / name)
    line = refusal(tmp_path)
    assert "3 materials" in line and "rock" in line and f"--groups_batching --groups_batch_dir {tmp_path}" in line


def test_pictures_beside_folders_of_maps_are_left_out_with_a_line(tmp_path):
    make(tmp_path / "rock" / "wet")
    make(tmp_path / "rock", "overview.png")
    notices: list[str] = []
    assert list(found(tmp_path, notices=notices)) == ["rock/wet"]
    assert any("rock" in notice and "left out" in notice for notice in notices)


def test_previews_and_renderings_in_the_folder_of_a_material_are_left_out_with_a_line(tmp_path):
    make(tmp_path / "rock")
    make(tmp_path / "rock" / "Thumbs")
    make(tmp_path / "rock" / "renders", "a.png")
    make(tmp_path / "previews")
    notices: list[str] = []
    assert list(found(tmp_path, notices=notices)) == ["previews", "rock"]
    assert any("rock/Thumbs" in notice for notice in notices)
    assert any("rock/renders" in notice for notice in notices)


def test_folders_with_nothing_in_them_are_listed_so_that_they_are_missed(tmp_path):
    make(tmp_path / "rock")
    make(tmp_path / "nameless", "x.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "rock" / "meshes").mkdir()
    (tmp_path / "unread").mkdir()
    (tmp_path / "unread" / "x_albedo.psd").write_bytes(b"")
    assert list(found(tmp_path)) == ["empty", "nameless", "rock", "unread"]
    for name in ("empty", "nameless", "unread"):
        assert "no map found" in refusal(tmp_path / name)


def test_hidden_folders_runs_results_and_what_systems_keep_are_left_out(tmp_path):
    make(tmp_path / "rock")
    make(tmp_path / ".cache" / "rock")
    make(tmp_path / "__MACOSX" / "rock")
    make(tmp_path / "rock" / "@eaDir" / "x_albedo.png")
    make(tmp_path / "results" / "rock" / "media")
    run = make(tmp_path / "rock" / "2026-01-02-03-04-05" / "media").parent
    (run / "models").mkdir()
    (run / "config.json").write_text("{}")
    assert list(found(tmp_path, excluded=[tmp_path / "results"])) == ["rock"]


def test_an_output_folder_above_the_materials_leaves_none_out(tmp_path):
    make(tmp_path / "rock")
    assert list(found(tmp_path, excluded=[tmp_path, tmp_path.parent])) == ["rock"]


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no one make symbolic links")


def test_links_that_lead_round_end_and_each_folder_goes_by_its_own_name(tmp_path):
    make(tmp_path / "z_rock")
    link(tmp_path / "a_link", tmp_path / "z_rock")
    link(tmp_path / "z_rock" / "up", tmp_path)
    link(tmp_path / "nowhere", tmp_path / "missing")
    outside = make(tmp_path.parent / f"{tmp_path.name}_outside")
    link(tmp_path / "outside", outside)
    notices: list[str] = []
    assert list(found(tmp_path, notices=notices)) == ["outside", "z_rock"]
    assert any("a_link" in notice and "z_rock" in notice for notice in notices)


def test_names_that_differ_in_case_alone_become_unique(tmp_path):
    make(tmp_path / "rock")
    if (tmp_path / "Rock").exists():
        pytest.skip("this file system does not tell letters by their case")
    make(tmp_path / "Rock")
    assert list(found(tmp_path)) == ["Rock", "rock_2"]


@pytest.mark.skipif(os.name == "nt", reason="file names of Windows are text")
def test_a_folder_whose_name_is_no_text_is_left_out_with_a_line(tmp_path):
    make(tmp_path / "rock")
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff\xfe")
    except OSError:
        pytest.skip("this file system takes no such names")
    notices: list[str] = []
    assert list(found(tmp_path, notices=notices)) == ["rock"]
    assert any("no valid text" in notice and notice.isascii() for notice in notices)


def test_the_root_may_be_a_material_itself(tmp_path):
    make(tmp_path / "rock")
    assert [one.name for one in material_inputs(tmp_path / "rock", TYPES)] == ["rock"]


def test_materials_of_gltf_files_are_groups_and_their_images_no_others(tmp_path):
    library = tmp_path / "library"
    make(library / "rock")
    write_glb(library / "props" / "set.glb", [textured() | {"name": name} for name in ("Lid", "a/b", "")], [png()])
    images = make(library / "chair" / "textures", "seat_albedo.png")
    content = {
        "asset": {"version": "2.0"},
        "materials": [textured() | {"name": "seat"}],
        "textures": [{"source": 0}],
        "images": [{"uri": "textures/seat_albedo.png"}],
    }
    (images.parent / "chair.gltf").write_text(json.dumps(content))
    assert found(library) == {
        "chair/chair/seat": "chair/chair.gltf#seat",
        "props/set/a_b": "props/set.glb#a_b",
        "props/set/Lid": "props/set.glb#Lid",
        "props/set/material": "props/set.glb#material",
        "rock": "rock",
    }
    for one in material_inputs(library, TYPES):
        assert load_texture_set(one.data_dir).present["diffuse"], one
    assert load_texture_set(library / "chair").present["metallic"]
    make(library / "chair" / "textures", "leg_albedo.png")
    assert {"chair/chair/seat", "chair/textures"} <= set(found(library))


def test_gltf_files_without_images_are_left_out_with_a_line_and_damaged_ones_listed(tmp_path):
    write_glb(tmp_path / "mesh.glb", [], [])
    (tmp_path / "damaged.glb").write_bytes(b"glTF\2\0\0\0")
    notices: list[str] = []
    assert found(tmp_path, notices=notices) == {"damaged": "damaged.glb"}
    assert any("mesh.glb" in notice for notice in notices)


def test_a_folder_with_one_gltf_file_of_one_material_is_that_material(tmp_path):
    write_glb(tmp_path / "chair" / "chair.glb", [textured()], [png(size=(4, 2))])
    textures = load_texture_set(tmp_path / "chair")
    assert (textures.name, textures.width, textures.height) == ("chair", 4, 2)


def test_other_files_of_a_folder_of_maps_are_named_from_the_materials_own(tmp_path):
    make(tmp_path / "rock" / "textures", "x_albedo.png", "x_emissive.png")
    assert all(name.startswith("textures/") for name in material_maps(tmp_path / "rock", TYPES).others)


def test_what_is_named_by_a_data_dir_can_be_asked_for(tmp_path):
    write_glb(tmp_path / "set.glb", [textured()], [png()])
    assert (
        input_exists(tmp_path) and input_exists(tmp_path / "set.glb") and input_exists(f"{tmp_path}/set.glb#material")
    )
    assert not input_exists(tmp_path / "other") and not input_exists(tmp_path / "other.glb")


@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real materials beside the checkout")
def test_real_materials_are_found():
    names = [one.name for one in material_inputs(REAL, TYPES)]
    assert {"Bark014", "BoomBox", "Ground068", "gltf/BoxTextured/Texture", "gltf/Duck/blinn3-fx"} <= set(names)
    assert not [name for name in names if "boombox" in name]
