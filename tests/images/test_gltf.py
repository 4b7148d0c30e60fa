"""glTF files give the maps of their materials, with channels and factors, and nothing in them does harm."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset import get_texture_config, load_texture_set
from images.gltf import split_reference
from images.inputs import material_maps
from images.paths import folder_name
from images.reading import image_size, read_image
from images.sources import MapSource, SourceImage
from images.white import white_image
from tests.images.files import flat, refusal, save
from tests.images.gltf_files import data_uri, document, glb_bytes, png, textured, write_glb
from tests.images.test_inputs import link
from utils.errors import UserError

TYPES = get_texture_config()
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "gltf"


def sources(path: Path | str) -> dict[str, MapSource]:
    return material_maps(path, TYPES).sources


def test_textures_channels_and_factors_become_maps(tmp_path):
    material = {
        "name": "Lid",
        "pbrMetallicRoughness": {
            "baseColorFactor": [0.5, 1, 0.25, 1],
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.5,
            "metallicRoughnessTexture": {"index": 1},
        },
        "normalTexture": {"index": 2, "scale": 0.5},
        "occlusionTexture": {"index": 1, "strength": 0.25},
        "emissiveTexture": {"index": 3},
    }
    images = [png((200, 100, 50)), png((10, 20, 30)), png((128, 128, 255)), png()]
    path = write_glb(tmp_path / "a.glb", [material], images)
    maps = material_maps(path, TYPES)
    found = maps.sources
    assert maps.name == "Lid"
    assert list(found) == ["diffuse", "normal", "roughness", "occlusion", "metallic"]
    assert [source.channel for source in found.values()] == [None, None, 1, 0, 2]
    assert found["diffuse"].factor == (0.5, 1, 0.25) and found["normal"].factor == (0.5, 0.5, 1)
    assert found["roughness"].factor == () and found["metallic"].factor == (0.5,)
    assert found["occlusion"].factor == (0.25,) and found["occlusion"].offset == 0.75
    assert found["normal"].convention_named and not found["normal"].directx
    # One image is read once for all its maps.
    assert found["roughness"].file == found["occlusion"].file == found["metallic"].file
    assert read_image(found["roughness"].file).texels[0, 0].tolist()[:3] == [10, 20, 30]
    assert list(maps.others.values()) == ["emissive"]


def test_a_map_that_is_a_number_is_a_constant_of_the_size_of_the_images(tmp_path):
    material = {
        "pbrMetallicRoughness": {"baseColorFactor": [0.2, 0.4, 0.6, 1], "metallicFactor": 0, "roughnessFactor": 0.25},
        "normalTexture": {"index": 0},
    }
    path = write_glb(tmp_path / "a.glb", [material], [png((128, 128, 255), (6, 4))])
    maps = material_maps(path, TYPES)
    assert list(maps.sources) == ["diffuse", "normal", "roughness", "metallic"]
    for name, factor in (("diffuse", (0.2, 0.4, 0.6)), ("roughness", (0.25,)), ("metallic", (0.0,))):
        source = maps.sources[name]
        assert source.factor == factor and source.channel is None
        assert image_size(source.file) == (6, 4)
        assert (read_image(source.file).texels == 255).all()
        assert any(notice.startswith(f"{name}: ") and "Factor" in notice for notice in maps.notices)
    textures = load_texture_set(path)
    assert (textures.width, textures.height) == (6, 4)


def test_the_loaded_values_are_those_of_the_formulas_of_gltf(tmp_path):
    """Base colour in linear light, normals by components, occlusion by strength, glossiness as 1 minus roughness."""
    material = {
        "pbrMetallicRoughness": {
            "baseColorFactor": [0.5, 1, 0.25, 1],
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.5,
            "roughnessFactor": 0.25,
        },
        "normalTexture": {"index": 1, "scale": 0.5},
        "occlusionTexture": {"index": 0, "strength": 0.25},
    }
    path = write_glb(tmp_path / "a.glb", [material], [png((200, 100, 50)), png((218, 128, 218))])
    texel = load_texture_set(path).mips[0][0, 0].tolist()
    linear = ((np.array([200, 100, 50]) / 255 + 0.055) / 1.055) ** 2.4 * [0.5, 1, 0.25]
    coded = (1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(texel[:3] - coded).max() <= 0.51
    vector = (np.array([218, 128, 218]) / 127.5 - 1) * [0.5, 0.5, 1]
    assert np.abs(texel[3:6] - (vector / np.linalg.norm(vector) + 1) * 127.5).max() <= 0.51
    assert texel[6] == round(0.25 * 255) and texel[8] == round(0.5 * 255)
    assert abs(texel[7] - (1 + 0.25 * (200 / 255 - 1)) * 255) <= 0.51

    gloss = {"diffuseTexture": {"index": 0}, "specularGlossinessTexture": {"index": 1}, "glossinessFactor": 0.5}
    material = {"extensions": {"KHR_materials_pbrSpecularGlossiness": gloss}}
    path = write_glb(tmp_path / "b.glb", [material], [png((200, 100, 50)), png((1, 2, 3, 100))])
    textures = load_texture_set(path)
    assert textures.mips[0][0, 0, :3].tolist() == [200, 100, 50] and not textures.present["metallic"]
    assert abs(int(textures.mips[0][0, 0, 6]) - (1 - 0.5 * 100 / 255) * 255) <= 0.51


def test_the_weight_of_specular_is_in_alpha_and_1_where_the_image_has_none(tmp_path):
    material = textured() | {"extensions": {"KHR_materials_specular": {"specularTexture": {"index": 1}}}}
    path = write_glb(tmp_path / "a.glb", [material], [png(), png((0, 0, 0, 99))])
    assert sources(path)["specular"].channel == 3
    material["extensions"]["KHR_materials_specular"]["specularFactor"] = 0.5
    path = write_glb(tmp_path / "b.glb", [material], [png(), png((0, 0, 0))])
    specular = sources(path)["specular"]
    assert (specular.channel, specular.factor) == (None, (0.5,))


def test_a_material_without_lighting_is_its_colour_alone(tmp_path):
    material = textured() | {"extensions": {"KHR_materials_unlit": {}}}
    assert list(sources(write_glb(tmp_path / "a.glb", [material], [png()]))) == ["diffuse"]


def test_what_does_not_travel_is_said(tmp_path):
    transform = {"KHR_texture_transform": {"scale": [2, 2]}}
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "extensions": transform}},
        "occlusionTexture": {"index": 1, "texCoord": 1},
        "alphaMode": "BLEND",
        "extensions": {
            "KHR_materials_clearcoat": {"clearcoatNormalTexture": {"index": 2}, "clearcoatTexture": {"index": 77}},
            "KHR_materials_ior": {"ior": 1.4},
        },
    }
    path = write_glb(tmp_path / "a.glb", [material], [png(1), png(2), png(3)], samplers=[{"wrapS": 33071}])
    content, buffer = document([material], [png(1), png(2), png(3)], samplers=[{"wrapS": 33071}])
    content["textures"][0]["sampler"] = 0
    path.write_bytes(glb_bytes(content, buffer))
    maps = material_maps(path, TYPES)
    for word in ("KHR_texture_transform", "texture coordinates 1", "BLEND", "KHR_materials_ior", "--wrap False"):
        assert sum(word in notice for notice in maps.notices) == 1, word
    assert maps.others == {"image 2": "clearcoat normal"}


def test_images_lie_in_buffers_files_and_text(tmp_path):
    (tmp_path / "maps").mkdir()
    save(tmp_path / "maps" / "ä b.png", flat(8, 8, (1, 2, 3)))
    image = png((4, 5, 6))
    (tmp_path / "data.bin").write_bytes(b"\0" * 8 + image)
    content = {
        "asset": {"version": "2.0"},
        "materials": [textured(index) | {"name": str(index)} for index in range(4)],
        "textures": [{"source": index} for index in range(4)],
        "images": [
            {"uri": "maps/%C3%A4%20b.png"},
            {"bufferView": 0, "name": "in a buffer"},
            {"uri": data_uri(png((7, 8, 9)))},
            {"bufferView": 1},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 8, "byteLength": len(image)},
            {"buffer": 1, "byteLength": len(png(99))},
        ],
        "buffers": [
            {"uri": "data.bin", "byteLength": 8 + len(image)},
            {"uri": data_uri(png(99), "application/octet-stream"), "byteLength": len(png(99))},
        ],
    }
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps(content), "utf-8")
    texels = [load_texture_set(f"{path}#{index}").mips[0][0, 0, :3].tolist() for index in range(4)]
    assert texels == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [99, 99, 99]]
    assert sources(f"{path}#0")["diffuse"].file == SourceImage(tmp_path / "maps" / "ä b.png")
    assert sources(f"{path}#1")["diffuse"].file.name == "in a buffer"


def test_no_two_images_of_a_file_have_one_name(tmp_path):
    content, buffer = document([textured() | {"occlusionTexture": {"index": 1}}], [png(1), png(2), png(3)])
    for image, name in zip(content["images"], ("a", "a", "A")):
        image["name"] = name
    (tmp_path / "a.glb").write_bytes(glb_bytes(content, buffer))
    found = sources(tmp_path / "a.glb")
    assert (found["diffuse"].file.name, found["occlusion"].file.name) == ("a", "a_2")


def test_webp_and_jpeg_are_read(tmp_path):
    images = [png((10, 200, 30), image_format="JPEG"), png((10, 200, 30), image_format="WEBP")]
    content, buffer = document([textured(0) | {"name": "a"}, textured(1) | {"name": "b"}], images)
    content["textures"][1] = {"extensions": {"EXT_texture_webp": {"source": 1}}}
    path = tmp_path / "a.glb"
    path.write_bytes(glb_bytes(content, buffer))
    for name in "ab":
        assert np.abs(load_texture_set(f"{path}#{name}").mips[0][0, 0, :3].astype(int) - [10, 200, 30]).max() < 8


def test_names_of_materials_become_names_of_folders(tmp_path):
    names = ["a/b", "", "Rock", "rock", "con", "..", "x\\y:z", "岩", "\ud83d\ude00", "tab\there"]
    materials = [textured() | {"name": name} for name in names] + [textured()]
    path = write_glb(tmp_path / "a.glb", materials, [png()])
    line = refusal(path)
    for name in ("a_b", "material", "Rock", "rock_2", "con_", "material_2", "x_y_z", "岩"):
        assert name in line
    assert f"{path.name}#a_b" in line and "--groups_batching" in line and "11 materials" in line
    assert material_maps(f"{path}#a/b", TYPES).name == "a_b"
    assert material_maps(f"{path}#rock", TYPES).name == "rock_2"
    assert material_maps(f"{path}#material_3", TYPES).name == "material_3"
    assert "no material 'wood'" in refusal(Path(f"{path}#wood"))
    assert len(folder_name("x" * 500)) == 64


def test_a_file_is_told_from_the_material_in_it(tmp_path):
    path = write_glb(tmp_path / "a#1.glb", [textured() | {"name": "x#y.glb"}, textured()], [png()])
    assert split_reference(f"{path}#x_y.glb") == (path, "x_y.glb")
    assert material_maps(f"{path}#x#y.glb", TYPES).name == "x_y.glb"
    assert split_reference(tmp_path) is None
    assert "there is no file" in refusal(tmp_path / "missing.glb#a")
    (tmp_path / "folder.glb").mkdir()
    save(tmp_path / "folder.glb" / "albedo.png", flat(4, 4, 1))
    assert load_texture_set(tmp_path / "folder.glb").width == 4


def with_json(**changes):
    content, buffer = document([textured()], [png()])
    return glb_bytes(content | changes, buffer)


GOOD = with_json()
VIEW = {"buffer": 0, "byteLength": 1 << 40}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no valid glTF"),
        (b"glTF", "cut short"),
        (GOOD[:-40], "cut short"),
        (b"glTF\1" + GOOD[5:], "glTF 1"),
        (GOOD[:12] + b"\xff\xff\xff\x7f" + GOOD[16:], "beyond its end"),
        (GOOD[:16] + b"XXXX" + GOOD[20:], "damaged"),
        (b"\x89PNG\r\n\x1a\n", "no valid glTF"),
        (b"[" * 1_000_000, "no valid glTF"),
        (b'{"asset": {"version": "2.0"}, "materials": [{"extensions": ' + b'{"a":' * 100_000, "no valid glTF"),
        (b'{"asset": {"version": "2.0", "x": [' + b"[]," * 3_000_000 + b"[]]}}", "entries"),
        (b'{"asset": {"version": "1.0"}}', "glTF '1.0'"),
        (b'{"asset": {}}', "glTF None"),
        (b'{"asset": {"version": "2.0"}, "images": 3}', "images"),
        (with_json(materials=[]), "no material"),
        (with_json(materials=[{}]), "only factors"),
        (with_json(materials=[textured(-1)]), "index"),
        (with_json(materials=[textured(1 << 40)]), "index"),
        (with_json(materials=[textured(7)]), "entry 7 of 1 in textures"),
        (with_json(materials=[textured(roughnessFactor=1e30)]), "roughnessFactor"),
        (with_json(materials=[textured() | {"extensions": {"KHR_materials_specular": 3}}]), "KHR_materials_specular"),
        (with_json(materials=[{}] * 10_001), "10000"),
        (with_json(textures=[{"source": 9}]), "image 9 of 1"),
        (with_json(textures=[{}]), "no image"),
        (with_json(textures=[{"source": 0, "sampler": 4}]), "entry 4 of 0 in samplers"),
        (with_json(textures=[{"extensions": {"EXT_texture_webp": {"source": "x"}}}]), "image 'x'"),
        (with_json(textures=[{"extensions": {"KHR_texture_basisu": {"source": 0}}}]), "KHR_texture_basisu"),
        (with_json(images=[{}]), "neither"),
        (with_json(images=[{"bufferView": 5}]), "entry 5 of 1 in bufferViews"),
        (with_json(bufferViews=[VIEW]), "more than is read"),
        (with_json(bufferViews=[{"buffer": 0, "byteOffset": 1 << 40, "byteLength": 9}]), "beyond the end"),
        (with_json(bufferViews=[{"buffer": 3, "byteLength": 9}]), "entry 3 of 1 in buffers"),
        (with_json(bufferViews=[VIEW | {"byteLength": 1 << 29}], buffers=[{"byteLength": 1 << 30}]), "beyond the end"),
        (with_json(bufferViews=[{"buffer": 0, "byteOffset": 1, "byteLength": 40}]), "no PNG, JPEG or WebP"),
        (with_json(images=[{"uri": "data:image/png;base64,####"}]), "damaged"),
        (with_json(images=[{"uri": "data:image/png"}]), "damaged"),
        (with_json(images=[{"uri": "http://example.com/x.png"}]), "address"),
        (with_json(images=[{"uri": "../secret.png"}]), "leads out"),
        (with_json(images=[{"uri": "%2e%2e/secret.png"}]), "leads out"),
        (with_json(images=[{"uri": "/etc/passwd"}]), "absolute"),
        (with_json(images=[{"uri": "nul.png"}]), "Windows"),
        (with_json(images=[{"uri": "notes.txt"}]), "no PNG, JPEG or WebP"),
        (with_json(images=[{"uri": "x" * 3000}]), "no name of a file"),
        (with_json(images=[{"uri": "%00.png"}]), "control characters"),
        (with_json(buffers=[{"uri": "../secret.png", "byteLength": 1000}]), "leads out"),
    ],
)
def test_what_is_damaged_or_leads_out_is_refused_in_one_line(tmp_path, data, word):
    save(tmp_path / "secret.png", flat(8, 8, 1))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    path = folder / "a.glb"
    path.write_bytes(data)
    line = refusal(path)
    assert word in line and str(folder) in line and line.isprintable() and len(line) < 500 + 2 * len(str(folder))


def test_a_link_that_leads_out_is_refused(tmp_path):
    save(tmp_path / "secret.png", flat(8, 8, 1))
    folder = tmp_path / "in"
    folder.mkdir()
    link(folder / "out", tmp_path)
    (folder / "a.glb").write_bytes(with_json(images=[{"uri": "out/secret.png"}]))
    assert "leads out" in refusal(folder / "a.glb")


def test_an_image_that_is_damaged_is_refused_by_its_name_and_its_file(tmp_path):
    path = write_glb(tmp_path / "a.glb", [textured()], [png()[:-30]])
    line = refusal(path)
    assert "image 0" in line and str(path) in line


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_pipe_in_the_place_of_an_image_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    os.mkfifo(tmp_path / "b.glb")
    (tmp_path / "a.glb").write_bytes(with_json(images=[{"uri": "x.png"}]))
    assert "no file" in refusal(tmp_path / "a.glb")
    assert "no file" in refusal(tmp_path / "b.glb")


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "RGB", "P", "1"])
def test_all_channels_of_a_grey_image_are_one_and_of_a_palette_its_colours(tmp_path, mode):
    file = io.BytesIO()
    image = Image.new("I;16", (4, 4), 0) if mode == "I;16" else Image.new("RGB", (4, 4), (0, 0, 0)).convert(mode)
    image.save(file, "PNG")
    material = textured() | {"occlusionTexture": {"index": 1}}
    textures = load_texture_set(write_glb(tmp_path / "a.glb", [material], [png(), file.getvalue()]))
    assert (textures.mips[0][..., 7] == 0).all() and textures.present["occlusion"]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (9, 3), (1000, 7)])
@pytest.mark.parametrize("colour", [False, True])
def test_white_images_are_white(width, height, colour):
    texels = read_image(SourceImage(Path("a.glb"), white_image(width, height, colour))).texels
    assert texels.shape == (height, width, 3 if colour else 1) and (texels == 255).all()


def test_a_size_that_no_texture_has_costs_no_memory():
    assert len(white_image(1 << 31, 1 << 31, False)) < 100


@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real materials beside the checkout")
@pytest.mark.parametrize(
    ("name", "material", "size"), [("Duck.glb", "blinn3-fx", 512), ("BoxTextured.glb", "Texture", 256)]
)
def test_real_files_load(name, material, size):
    textures = load_texture_set(REAL / name)
    assert (textures.name, textures.width, textures.height) == (material, size, size)
    assert [name for name, present in textures.present.items() if present] == ["diffuse", "roughness", "metallic"]
    assert (textures.mips[0][..., 6] == 255).all() and (textures.mips[0][..., 8] == 0).all()
    assert textures.mips[0][..., :3].std() > 20


@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real materials beside the checkout")
def test_real_geometry_without_a_material_is_refused_in_one_line():
    with pytest.raises(UserError, match="no material, only geometry"):
        material_maps(REAL / "boombox.glb", TYPES)
