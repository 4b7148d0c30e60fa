"""Baked files hold what the reader decodes, in the formats that they name, whatever the size."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import texture2ddecoder
from PIL import Image

import export
from formats import bc7
from formats.dds import HEADER_BYTES
from images.mips import mip_size
from runtime.bake import blocks
from runtime.bake.bake import bake
from runtime.bake.files import BAKES
from tests.runtime.browser import run_page
from tests.runtime.materials import exported, psnr_db, without
from tests.runtime.npm import npm_package, run_node
from utils.errors import UsageError, UserError

ROOT = Path(__file__).resolve().parents[3]
SIZES = [(64, 64), (1, 1), (33, 19), (128, 16), (5, 8), (2, 7)]
DXGI = {80: "bc4", 83: "bc5", 98: "bc7", 99: "bc7"}
MAPS = {"basecolor": [0, 1, 2], "normal": [3, 4, 5], "orm": [7, 6, 8], "specular": [9], "displacement": [10]}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("material"))


def decoded_levels(data: bytes, starts: list[int], width: int, height: int, codec: str) -> list[np.ndarray]:
    """Decode block-compressed levels that start at `starts`: uint8 `[H, W, 3]`."""
    levels = []
    for mip, start in enumerate(starts):
        w, h = mip_size(width, height, mip)
        columns, rows = -(-w // 4) * 4, -(-h // 4) * 4
        payload = data[start : start + columns * rows // 16 * (8 if codec == "bc4" else 16)]
        bgra = getattr(texture2ddecoder, f"decode_{codec}")(payload, columns, rows)
        levels.append(np.frombuffer(bgra, np.uint8).reshape(rows, columns, 4)[:h, :w, [2, 1, 0]])
    return levels


def dds_levels(path: Path, width: int, height: int, mips: int) -> tuple[int, list[np.ndarray]]:
    """DXGI format and decoded levels of a DDS file, read by offsets that the format's pages give."""
    data = path.read_bytes()
    assert data[:4] == b"DDS " and data[84:88] == b"DX10"
    assert struct.unpack_from("<2I", data, 12) == (height, width)
    assert struct.unpack_from("<I", data, 28) == (mips,)
    (dxgi,) = struct.unpack_from("<I", data, 128)
    block_bytes, starts, start = 8 if DXGI[dxgi] == "bc4" else 16, [], HEADER_BYTES
    for mip in range(mips):
        w, h = mip_size(width, height, mip)
        starts.append(start)
        start += -(-w // 4) * -(-h // 4) * block_bytes
    assert len(data) == start
    assert struct.unpack_from("<I", data, 20) == ((starts[1] if mips > 1 else start) - HEADER_BYTES,)
    return dxgi, decoded_levels(data, starts, width, height, DXGI[dxgi])


@pytest.mark.parametrize("size", SIZES)
def test_png_files_hold_what_the_reader_decodes(size, tmp_path):
    reader = exported(tmp_path / "export", *size)
    written, _ = bake(reader, tmp_path / "out", ["png"], "wall", mip=-1)
    for mip in range(reader.manifest["mips"]):
        texels = reader.decode_uint8(mip)
        for name, channels in MAPS.items():
            path = tmp_path / "out" / "png" / f"wall_{name}{f'_mip{mip}' if mip else ''}.png"
            assert path in written["png"]
            image = np.asarray(Image.open(path)).reshape(*texels.shape[:2], -1)
            assert (image == texels[..., channels]).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["bc7", "bc5"])
def test_dds_files_hold_all_mips_in_whole_blocks(kind, size, tmp_path):
    reader = exported(tmp_path / "export", *size)
    bake(reader, tmp_path, [kind], "wall")
    formats = {"bc7": [99, 98, 98, 98, 98], "bc5": [99, 83, 98, 80, 80]}[kind]
    for (name, channels), expected in zip(MAPS.items(), formats):
        path = tmp_path / kind / f"wall_{name}.dds"
        dxgi, levels = dds_levels(path, *size, reader.manifest["mips"])
        assert dxgi == expected
        for mip, level in enumerate(levels):
            channels = channels[:2] if dxgi == 83 else channels
            original = reader.decode_uint8(mip)[..., channels]
            # Small mips of a random model are noise, for which BC formats are not made.
            least = 30 if min(original.shape[:2]) >= 16 else 15
            assert psnr_db(original, level[..., : len(channels)]) > least, (name, mip)
        if min(size) > 1:
            # Another program's decoder, of the finest level.
            seen = np.asarray(Image.open(path).convert("RGB"))
            assert seen.shape[:2] == (size[1], size[0])
            count = {83: 2, 80: 1}.get(dxgi, 3)
            assert np.abs(seen[..., :count].astype(int) - levels[0][..., :count]).max() <= 1


@pytest.mark.parametrize("block_format", [blocks.BC7, blocks.BC5, blocks.BC4])
def test_a_map_encoded_in_strips_is_the_same_and_counts_its_rows(block_format, monkeypatch):
    texels = np.random.default_rng(0).integers(0, 256, (37, 21, 3)).astype(np.uint8)
    whole, rows = blocks.encode_blocks(texels, block_format), []
    monkeypatch.setattr(blocks, "TEXELS_AT_ONCE", 24 * 8)
    monkeypatch.setattr(bc7, "TEXELS_AT_ONCE", 24 * 8)
    assert blocks.encode_blocks(texels, block_format, rows.append) == whole
    assert rows == [8, 8, 8, 8, 5]


def test_the_list_of_baked_files_names_their_encoder(material, tmp_path):
    bake(material, tmp_path, ["png", "bc7", "bc5", "ktx2"], "wall")
    for kind in ("png", "bc7", "bc5", "ktx2"):
        for entry in json.loads((tmp_path / kind / "wall_maps.json").read_text())["maps"]:
            expected = {"BC7": bc7.bc7_encoder(), "BC4": "own BC4 1", "BC5": "own BC4 1"}.get(entry["format"][:3])
            assert entry.get("encoder") == expected, (kind, entry)


@pytest.mark.skipif("ispc" not in bc7.bc7_encoder(), reason="needs ispc-texcomp, which has wheels from Python 3.11 on")
def test_baked_bc7_is_nearly_lossless_where_a_map_is_smooth():
    y, x = np.mgrid[:64, :64] / 16
    texels = (128 + 100 * np.stack([np.sin(x + c) * np.cos(y * (1 + c / 5)) for c in range(3)], -1)).astype(np.uint8)
    level = decoded_levels(blocks.encode_blocks(texels, blocks.BC7), [0], 64, 64, "bc7")[0]
    assert psnr_db(texels, level) > 45


READ_KTX2 = """
import { readFileSync } from "node:fs";
import { read } from "ktx-parse";
const files = process.argv.slice(2).map((path) => {
  const data = new Uint8Array(readFileSync(path));
  const ktx = read(data);
  const { vkFormat, typeSize, pixelWidth, pixelHeight, pixelDepth, layerCount, faceCount } = ktx;
  const levels = ktx.levels.map(({ levelData, uncompressedByteLength }) => ({
    start: Buffer.from(data).indexOf(Buffer.from(levelData)), bytes: levelData.length, uncompressedByteLength }));
  return { vkFormat, typeSize, pixelWidth, pixelHeight, pixelDepth, layerCount, faceCount, levels,
    scheme: ktx.supercompressionScheme, dfd: ktx.dataFormatDescriptor, keyValue: ktx.keyValue };
});
console.log(JSON.stringify(files));
"""


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (33, 19)])
def test_ktx2_files_are_read_by_another_program(size, tmp_path):
    reader = exported(tmp_path / "export", *size)
    written, _ = bake(reader, tmp_path, ["ktx2", "bc7"], "wall")
    paths = [path for path in written["ktx2"] if path.suffix == ".ktx2"]
    assert [path.stem.split("_")[1] for path in paths] == list(MAPS)
    for path, file in zip(paths, run_node(READ_KTX2, *paths, package="ktx-parse")):
        is_colour = "basecolor" in path.name
        assert file["vkFormat"] == (146 if is_colour else 145)
        assert [file[key] for key in ("pixelWidth", "pixelHeight", "pixelDepth", "layerCount", "faceCount")] == [
            *size,
            0,
            0,
            1,
        ]
        assert (file["typeSize"], file["scheme"]) == (1, 0)
        assert file["keyValue"]["KTXorientation"] in ("rd", "rd\0")
        (descriptor,) = file["dfd"]
        assert descriptor["colorModel"] == 134 and descriptor["transferFunction"] == (2 if is_colour else 1)
        assert descriptor["texelBlockDimension"] == [3, 3, 0, 0] and descriptor["bytesPlane"][0] == 16
        assert [sample["bitLength"] for sample in descriptor["samples"]] == [127]
        # The same blocks as in the DDS file, finest first there.
        blocks = (tmp_path / "bc7" / f"{path.stem}.dds").read_bytes()[HEADER_BYTES:]
        data, start = path.read_bytes(), 0
        for level in file["levels"]:
            place = struct.unpack_from("<Q", data, 80 + 24 * file["levels"].index(level))[0]
            assert place % 16 == 0
            assert data[place : place + level["bytes"]] == blocks[start : start + level["bytes"]]
            assert level["uncompressedByteLength"] == level["bytes"]
            start += level["bytes"]
        assert start == len(blocks)


def test_three_js_loads_a_ktx2_file_and_draws_its_texels(material, tmp_path):
    bake(material, tmp_path, ["ktx2", "bc7"], "wall")
    page = """<script type="importmap">{"imports": {"three": "/three/build/three.module.js"}}</script>
    <script type="module">
    import * as THREE from "three";
    import { KTX2Loader } from "/three/examples/jsm/loaders/KTX2Loader.js";
    const renderer = new THREE.WebGLRenderer();
    renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
    renderer.setSize(64, 64);
    const loader = new KTX2Loader().setTranscoderPath("/three/examples/jsm/libs/basis/").detectSupport(renderer);
    const texture = await loader.loadAsync("/files/wall_normal.ktx2");
    texture.minFilter = texture.magFilter = THREE.NearestFilter;
    const plane = new THREE.Mesh(new THREE.PlaneGeometry(2, 2), new THREE.MeshBasicMaterial({map: texture}));
    // KTX2's first row is the top of the image, and a plane's v = 1 is its top.
    plane.geometry.attributes.uv.array.forEach((value, i, uv) => { if (i % 2) uv[i] = 1 - value; });
    const target = new THREE.WebGLRenderTarget(64, 64);
    renderer.setRenderTarget(target);
    renderer.render(plane, new THREE.OrthographicCamera(-1, 1, 1, -1, -1, 1));
    const pixels = new Uint8Array(64 * 64 * 4);
    renderer.readRenderTargetPixels(target, 0, 0, 64, 64, pixels);
    report({mips: texture.mipmaps.length, pixels: Array.from(pixels)});
    </script>"""
    three = npm_package("three") / "node_modules" / "three"
    result = run_page(page, {"three": three, "files": tmp_path / "ktx2"})
    assert result["mips"] == material.manifest["mips"]
    # Pixels are read from the bottom.
    drawn = np.array(result["pixels"], np.uint8).reshape(64, 64, 4)[::-1, :, :3]
    _, levels = dds_levels(tmp_path / "bc7" / "wall_normal.dds", 64, 64, material.manifest["mips"])
    assert np.abs(drawn.astype(int) - levels[0]).max() <= 1


def test_a_missing_map_has_no_file_and_a_missing_channel_is_neutral(tmp_path):
    reader = exported(tmp_path / "export", present=without("occlusion", "roughness", "specular", "normal"))
    _, notes = bake(reader, tmp_path, ["png"], "wall")
    assert sorted(path.name for path in (tmp_path / "png").glob("*.png")) == [
        "wall_basecolor.png",
        "wall_displacement.png",
        "wall_orm.png",
    ]
    packed = np.asarray(Image.open(tmp_path / "png" / "wall_orm.png"))
    assert (packed[..., :2] == 255).all()
    assert (packed[..., 2] == reader.decode_uint8(0)[..., 8]).all()
    assert any("occlusion, roughness" in note and "neutral" in note for note in notes)
    listing = json.loads((tmp_path / "png" / "wall_maps.json").read_text())
    assert {entry["map"]: entry["neutral_channels"] for entry in listing["maps"]}["orm"] == ["occlusion", "roughness"]


def test_a_material_without_metal_and_the_like_has_metallic_zero_or_no_packed_map(tmp_path):
    reader = exported(tmp_path / "export", present=without("metallic"))
    bake(reader, tmp_path / "some", ["png"], "wall")
    assert (np.asarray(Image.open(tmp_path / "some" / "png" / "wall_orm.png"))[..., 2] == 0).all()
    reader = exported(tmp_path / "none", present=without("metallic", "occlusion", "roughness"))
    bake(reader, tmp_path / "none_out", ["png"], "wall")
    assert not (tmp_path / "none_out" / "png" / "wall_orm.png").exists()


@pytest.mark.parametrize("own", ["opengl", "directx"])
@pytest.mark.parametrize("asked", [None, "opengl", "directx"])
def test_green_of_normals_is_turned_over_where_another_convention_is_asked_for(own, asked, tmp_path):
    reader = exported(tmp_path / "export", convention=own)
    _, notes = bake(reader, tmp_path, ["png"], "wall", convention=asked)
    normals = reader.decode_uint8(0)[..., 3:6]
    if asked not in (None, own):
        normals[..., 1] = 255 - normals[..., 1]
    assert (np.asarray(Image.open(tmp_path / "png" / "wall_normal.png")) == normals).all()
    assert json.loads((tmp_path / "png" / "wall_maps.json").read_text())["normal_convention"] == (asked or own)
    assert any((asked or own) in note for note in notes)


def test_an_export_of_the_finest_levels_bakes_what_it_holds_and_says_so(tmp_path):
    reader = exported(tmp_path / "export", dds_mips=False)
    _, notes = bake(reader, tmp_path, ["bc7"], "wall")
    assert any("1 of 7 mips" in note and "--dds_mips True" in note for note in notes)
    dds_levels(tmp_path / "bc7" / "wall_basecolor.dds", 64, 64, 1)
    with pytest.raises(UserError, match="mip 2"):
        bake(reader, tmp_path, ["png"], "wall", mip=2)


def test_sizes_that_graphics_cards_refuse_in_block_formats_are_named(tmp_path):
    reader = exported(tmp_path / "export", 33, 19)
    assert any("33 x 19" in note for note in bake(reader, tmp_path, ["bc7"], "wall")[1])
    assert not any("33 x 19" in note for note in bake(reader, tmp_path, ["png"], "wall")[1])


def test_the_command_writes_each_kind_into_its_folder_and_sums_up(material, tmp_path, capsys):
    export.main(["--load_dir", str(material.folder), "--bake", *BAKES, "--name", "My wall", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    for kind in BAKES:
        assert f"{kind}:" in out and str(tmp_path / kind) in out
        assert {path.name for path in (tmp_path / kind).iterdir()} >= {"My_wall_maps.json"}
    assert not list(tmp_path.rglob(".*"))
    assert sum(path.suffix == ".ktx2" for path in (tmp_path / "ktx2").iterdir()) == len(MAPS)


def test_baking_does_not_load_pytorch(material, tmp_path):
    code = (
        "import sys, export; export.main(sys.argv[1:]); "
        "sys.exit(3 if {'torch', 'matplotlib', 'scipy'} & set(sys.modules) else 0)"
    )
    arguments = ["--load_dir", material.folder, "--bake", "bc7", "--engine", "gltf", "--out", tmp_path]
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--bake", "bc9"], "bc9"),
        (["--bake", "bc7", "--mip", "1"], "--mip"),
        (["--bake", "png", "--mip", "-2"], "--mip -2"),
        (["--bake", "png", "--storage", "true_rate"], "--storage"),
        (["--bake", "png", "--texture_format", "ktx2"], "--texture_format"),
        (["--engine", "gltf", "--normal_convention", "opengl"], "--normal_convention"),
        (["--bake", "png", "--shader_precision", "float16"], "--shader_precision"),
        (["--mip", "0"], "--mip"),
    ],
)
def test_flags_that_do_not_belong_together_are_refused_by_name(flags, words, material, tmp_path):
    good = ["--load_dir", str(material.folder), "--out", str(tmp_path)]
    export.main([*good, "--bake", "png"])
    with pytest.raises(UsageError, match=words):
        export.main([*good, *flags])


def test_flags_of_a_bake_are_refused_beside_decode(material, tmp_path):
    export.main(["--decode", str(material.folder), "--out", str(tmp_path)])
    with pytest.raises(UsageError, match="--bake"):
        export.main(["--decode", str(material.folder), "--out", str(tmp_path), "--bake", "png"])


def test_a_damaged_export_and_a_file_in_the_way_are_one_line(tmp_path):
    reader = exported(tmp_path / "export")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "png").write_text("in the way")
    with pytest.raises(UserError, match="file is in the way"):
        export.main(["--load_dir", str(reader.folder), "--bake", "png", "--out", str(tmp_path / "out")])
    path = reader.folder / "hash_grid_0.dds"
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match="SHA-256"):
        export.main(["--load_dir", str(reader.folder), "--bake", "png", "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
