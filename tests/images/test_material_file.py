"""material.json says what the files of a folder are, and is refused in one line where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataset import get_texture_config, load_texture_set
from images.inputs import material_inputs, material_maps
from images.material_file import MOST_BYTES
from tests.images.files import flat, refusal, save
from tests.images.test_inputs import link

TYPES = get_texture_config()


@pytest.fixture
def folder(tmp_path):
    """Images whose names say something else than what they are."""
    folder = tmp_path / "rock"
    (folder / "deep").mkdir(parents=True)
    save(folder / "a_normal.png", flat(8, 8, (10, 20, 30)))
    save(folder / "mask.png", flat(8, 8, (1, 2, 3, 4)))
    save(folder / "deep" / "n.png", flat(8, 8, (128, 128, 255)))
    save(folder / "b_roughness.png", flat(8, 8, 77))
    return folder


def describe(folder: Path, content: object) -> Path:
    (folder / "material.json").write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return folder


def test_it_overrides_what_the_names_say(folder):
    describe(
        folder,
        {
            "name": "Wet rock",
            "maps": {
                "diffuse": "a_normal.png",
                "normal": {"file": "deep/n.png", "convention": "directx"},
                "occlusion": {"file": "mask.png", "channel": "B"},
                "displacement": {"file": "mask.png", "channel": "A", "inverted": True, "factor": 0.5},
            },
            "ignore": ["b_*"],
        },
    )
    maps = material_maps(folder, TYPES)
    assert maps.name == "Wet rock" and list(maps.sources) == ["diffuse", "normal", "occlusion", "displacement"]
    normal, height = maps.sources["normal"], maps.sources["displacement"]
    assert (normal.directx, normal.convention_named) == (True, True)
    assert (height.channel, height.inverted, height.factor, height.reason) == (3, True, (0.5,), "material.json")
    assert not maps.others and all(source.stated for source in maps.sources.values())
    del (content := json.loads((folder / "material.json").read_text()))["maps"]["displacement"]
    textures = load_texture_set(describe(folder, content))
    assert textures.name == "Wet rock" and textures.mips[0][0, 0, [0, 7]].tolist() == [10, 3]
    assert not textures.present["roughness"]


def test_where_green_points_is_left_to_the_pixels_where_it_does_not_say_it(folder):
    describe(folder, {"maps": {"normal": "deep/n.png"}})
    normal = material_maps(folder, TYPES).sources["normal"]
    assert not (normal.stated or normal.convention_named)
    describe(folder, {"maps": {"normal": "deep/n.png"}, "normal_convention": "opengl"})
    normal = material_maps(folder, TYPES).sources["normal"]
    assert normal.stated and normal.convention_named and not normal.directx


def test_images_that_it_does_not_name_are_listed(folder):
    describe(folder, {"maps": {"diffuse": "a_normal.png"}})
    save(folder / "c_opacity.png", flat(8, 8, 1))
    others = material_maps(folder, TYPES).others
    assert list(others) == ["b_roughness.png", "c_opacity.png", "mask.png"]
    assert (others["b_roughness.png"], others["c_opacity.png"]) == ("not named in material.json", "opacity")


def test_without_maps_the_names_count_but_for_what_is_ignored(folder):
    save(folder / "old_roughness.png", flat(8, 8, 1))
    describe(folder, {"name": "wet", "normal_convention": "directx", "ignore": ["old_*"]})
    maps = material_maps(folder, TYPES)
    assert maps.name == "wet" and maps.sources["roughness"].file.name == "b_roughness.png"
    assert maps.sources["normal"].directx and maps.sources["normal"].convention_named


def test_its_folders_are_no_materials_of_their_own(folder):
    save(folder / "deep" / "x_albedo.png", flat(8, 8, 1))
    assert [one.name for one in material_inputs(folder.parent, TYPES)] == ["rock", "rock/deep"]
    describe(folder, {"maps": {"normal": "deep/n.png"}})
    assert [one.name for one in material_inputs(folder.parent, TYPES)] == ["rock"]


def test_a_damaged_one_is_still_a_material_of_a_batch(folder):
    describe(folder, "{")
    assert "rock" in [one.name for one in material_inputs(folder.parent, TYPES)]


def test_the_mark_of_its_coding_at_its_start_is_read_over(folder):
    describe(folder, "\ufeff" + json.dumps({"maps": {"diffuse": "mask.png"}}))
    assert list(material_maps(folder, TYPES).sources) == ["diffuse"]


MAPS = {"diffuse": "a_normal.png"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ("not valid JSON",)),
        ("[]", ("an object",)),
        ('"\ud800"'.encode("utf-8", "surrogatepass").decode("latin-1"), ("material.json",)),
        ("[" * 100_000, ("not valid JSON",)),
        ('{"maps": {"diffuse": {"file": "mask.png", "factor": NaN}}}', ("maps.diffuse.factor is nan", "finite")),
        ({"map": {}}, ("unknown key map", "name, maps, normal_convention, ignore")),
        ({"maps": {}}, ("maps is empty", "diffuse")),
        ({"maps": {"color": "mask.png"}}, ("unknown key maps.color", "displacement")),
        ({"maps": {"diffuse": {"path": "mask.png", "file": "mask.png"}}}, ("unknown key maps.diffuse.path", "channel")),
        ({"maps": {"diffuse": {}}}, ("maps.diffuse.file is missing",)),
        ({"maps": {"diffuse": 3}}, ("maps.diffuse",)),
        ({"maps": {"diffuse": {"file": "mask.png", "channel": "X"}}}, ("maps.diffuse.channel is 'X'", "'R', 'G'")),
        ({"maps": {"diffuse": {"file": "mask.png", "inverted": 1}}}, ("maps.diffuse.inverted is 1",)),
        ({"maps": {"diffuse": {"file": "mask.png", "factor": -1}}}, ("maps.diffuse.factor",)),
        ({"maps": {"roughness": {"file": "mask.png", "factor": [1, 1, 1]}}}, ("maps.roughness.factor", "one number")),
        ({"maps": {"roughness": {"file": "mask.png", "convention": "opengl"}}}, ("maps.roughness.convention",)),
        ({"maps": {"normal": {"file": "mask.png", "inverted": True}}}, ("maps.normal",)),
        (
            {"maps": {"normal": {"file": "mask.png", "convention": "opengl"}}, "normal_convention": "directx"},
            ("maps.normal.convention is opengl", "directx"),
        ),
        ({"normal_convention": "vulkan"}, ("normal_convention is 'vulkan'", "'directx'")),
        ({"name": ""}, ("name is ''",)),
        ({"name": "a\nb\x1b[2J"}, ("name is 'a\\nb",)),
        ({"ignore": "x"}, ("ignore is 'x'",)),
        ({"ignore": ["x"] * 1001}, ("ignore", "1000")),
        ({"maps": {"diffuse": "notes.txt"}}, ("'notes.txt'", ".png")),
        ({"maps": {"diffuse": "missing.png"}}, ("'missing.png'", "no file")),
        ({"maps": {"diffuse": "MASK.png"}}, ("'MASK.png'", "'mask.png'")),
        ({"maps": {"diffuse": "../rock/mask.png"}}, ("leads out",)),
        ({"maps": {"diffuse": "deep/../../x.png"}}, ("leads out",)),
        ({"maps": {"diffuse": "/etc/x.png"}}, ("absolute",)),
        ({"maps": {"diffuse": "C:\\x.png"}}, ("backslash",)),
        ({"maps": {"diffuse": "C:/x.png"}}, ("absolute",)),
        ({"maps": {"diffuse": "deep\\n.png"}}, ("backslash", "with / between folders")),
        ({"maps": {"diffuse": "mask.png:stream.png"}}, ("absolute",)),
        ({"maps": {"diffuse": "con.png"}}, ("Windows",)),
        ({"maps": {"diffuse": "deep/LPT1.a.png"}}, ("Windows",)),
        ({"maps": {"diffuse": "deep /n.png"}}, ("Windows",)),
        ({"maps": {"diffuse": "a\x00.png"}}, ("control characters",)),
        ({"maps": {"diffuse": "a" * 2000 + ".png"}}, ("maps.diffuse.file",)),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, content, words):
    line = refusal(describe(folder, content))
    assert line.isprintable() and len(line) < 600 + len(str(folder)) * 3
    for word in (*words, "material.json"):
        assert word in line, line


def test_one_that_is_too_large_is_refused(folder):
    assert "1024 KiB" in refusal(describe(folder, " " * (MOST_BYTES + 1)))


def test_a_link_that_leads_out_is_refused_and_one_within_is_not(folder, tmp_path):
    save(tmp_path / "secret.png", flat(8, 8, 1))
    link(folder / "out", tmp_path)
    describe(folder, {"maps": {"diffuse": "out/secret.png"}})
    assert "leads out" in refusal(folder)
    link(folder / "in", folder / "deep")
    describe(folder, {"maps": {"normal": "in/n.png"}})
    assert load_texture_set(folder).present["normal"]
