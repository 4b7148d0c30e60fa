"""The .glb is valid by Khronos's validator, and three.js draws from it what the reader decodes."""

from __future__ import annotations

import base64
import importlib.util
import json
import struct

import numpy as np
import pytest

import export
from runtime.engines.gltf import gltf_package, material_glb
from runtime.engines.gltf_page import THREE, VALIDATOR
from tests.runtime.browser import run_page
from tests.runtime.materials import exported, psnr_db, without
from tests.runtime.npm import PINNED, npm_package, run_node
from utils.errors import UserError

needs_basis = pytest.mark.skipif(not importlib.util.find_spec("alktx2"), reason="needs alktx2: pip install alktx2")

VALIDATE = """
import { readFileSync } from "node:fs";
import validator from "gltf-validator";
const data = new Uint8Array(readFileSync(process.argv[2]));
const report = await validator.validateBytes(data, { format: "glb", maxIssues: 20 });
console.log(JSON.stringify(report));
"""

CASES = {
    "all maps": {},
    "only colour": dict(present=without("normal", "roughness", "occlusion", "metallic", "specular", "displacement")),
    "no map that glTF knows": dict(
        present=without("diffuse", "normal", "roughness", "occlusion", "metallic", "specular")
    ),
    "occlusion alone of the packed": dict(present=without("roughness", "metallic")),
    "roughness alone of the packed": dict(present=without("occlusion", "metallic")),
    "clamped": dict(wrap=False),
    "directx normals": dict(convention="directx"),
    "one texel": dict(width=1, height=1),
    "odd sizes": dict(width=33, height=19),
    "wide": dict(width=128, height=16),
    "tall": dict(width=16, height=128),
}


def document(glb: bytes) -> dict:
    """The JSON of a GLB file."""
    assert struct.unpack_from("<4s2I", glb) == (b"glTF", 2, len(glb))
    (length,) = struct.unpack_from("<I", glb, 12)
    return json.loads(glb[20 : 20 + length])


def issues(path, but=()) -> list[dict]:
    """What the validator finds, hints too."""
    report = run_node(VALIDATE, path, package="gltf-validator")
    return [message for message in report["issues"]["messages"] if message["code"] not in but]


@pytest.mark.parametrize("name", CASES)
def test_the_validator_finds_nothing(name, tmp_path):
    reader = exported(tmp_path / "export", **CASES[name])
    glb, _ = gltf_package(reader, tmp_path, "wall")
    known = {"odd sizes": {"IMAGE_NPOT_DIMENSIONS"}, "no map that glTF knows": {"UNUSED_OBJECT"}}.get(name, set())
    assert issues(glb, known) == []


def test_the_validator_would_find_a_wrong_file(tmp_path):
    reader = exported(tmp_path / "export")
    glb, _ = gltf_package(reader, tmp_path, "wall")
    data = glb.read_bytes().replace(b'"type":"VEC4"', b'"type":"VEC3"')
    glb.write_bytes(data)
    assert any(issue["severity"] == 0 for issue in issues(glb))


@needs_basis
def test_the_validator_finds_nothing_but_the_extension_that_it_does_not_know(tmp_path):
    reader = exported(tmp_path / "export")
    glb, _ = gltf_package(reader, tmp_path, "wall", "ktx2")
    unknown = {"UNSUPPORTED_EXTENSION", "IMAGE_UNRECOGNIZED_FORMAT", "UNUSED_OBJECT", "VALUE_NOT_IN_LIST"}
    assert issues(glb, unknown) == []
    assert {issue["pointer"].split("/")[1] for issue in issues(glb)} <= {"images", "extensionsUsed", "textures"}
    assert not [issue for issue in issues(glb) if issue["severity"] == 0]
    assert document(glb.read_bytes())["extensionsRequired"] == ["KHR_texture_basisu"]


READ_BASIS = """
import { readFileSync } from "node:fs";
import { read } from "ktx-parse";
const glb = readFileSync(process.argv[2]);
const size = glb.readUInt32LE(12), json = JSON.parse(glb.subarray(20, 20 + size)), start = 28 + size;
console.log(JSON.stringify(json.images.map(({ name, bufferView }) => {
  const { byteOffset, byteLength } = json.bufferViews[bufferView];
  const ktx = read(new Uint8Array(glb.subarray(start + byteOffset, start + byteOffset + byteLength)));
  const { vkFormat, pixelWidth, pixelHeight, supercompressionScheme, keyValue } = ktx;
  return { name, vkFormat, pixelWidth, pixelHeight, supercompressionScheme, keyValue, levels: ktx.levels.length,
    descriptor: ktx.dataFormatDescriptor[0] };
})));
"""


@needs_basis
def test_basis_textures_keep_the_rules_of_the_extension(tmp_path):
    reader = exported(tmp_path / "export", 64, 32)
    glb, _ = gltf_package(reader, tmp_path, "wall", "ktx2")
    files = {file["name"]: file for file in run_node(READ_BASIS, glb, package="ktx-parse")}
    assert list(files) == ["wall_basecolor", "wall_normal", "wall_orm", "wall_specular"]
    for name, file in files.items():
        is_colour = name in ("wall_basecolor", "wall_specular")
        assert (file["vkFormat"], file["supercompressionScheme"]) == (0, 2)
        assert (file["pixelWidth"], file["pixelHeight"], file["levels"]) == (64, 32, 6)
        descriptor = file["descriptor"]
        assert descriptor["colorModel"] == 166
        # BT.709 and sRGB for colour; unspecified and linear for data.
        assert (descriptor["colorPrimaries"], descriptor["transferFunction"]) == ((1, 2) if is_colour else (0, 1))
        assert "KTXswizzle" not in file["keyValue"]


def test_ktx2_in_a_size_that_gltf_does_not_allow_is_refused_with_the_way_out(tmp_path):
    reader = exported(tmp_path / "export", 33, 19)
    with pytest.raises(UserError, match="33 x 19.*--texture_format png"):
        material_glb(reader, "wall", "ktx2")


def test_a_missing_encoder_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "alktx2", None)
    with pytest.raises(UserError, match="pip install alktx2"):
        material_glb(exported(tmp_path / "export"), "wall", "ktx2")


PAGE = """<script type="importmap">
{"imports": {"three": "/three/build/three.module.js", "three/addons/": "/three/examples/jsm/"}}
</script>
<script type="module">
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { KTX2Loader } from "three/addons/loaders/KTX2Loader.js";
const renderer = new THREE.WebGLRenderer({ preserveDrawingBuffer: true });
const ktx2 = new KTX2Loader().setTranscoderPath("/three/examples/jsm/libs/basis/").detectSupport(renderer);
const gltf = await new GLTFLoader().setKTX2Loader(ktx2).loadAsync("/files/wall.glb");
const plane = gltf.scene.getObjectByName("plane"), sphere = gltf.scene.getObjectByName("sphere");
const material = plane.material, box = new THREE.Box3().setFromObject(plane);

function pixels(replacement, width, height) {
  // As many pixels as texels, so that each shows one.
  const target = new THREE.WebGLRenderTarget(width, height);
  const camera = new THREE.OrthographicCamera(box.min.x, box.max.x, box.max.y, box.min.y, -1, 1);
  plane.material = replacement;
  sphere.visible = false;
  renderer.setRenderTarget(target);
  renderer.render(gltf.scene, camera);
  const data = new Uint8Array(width * height * 4);
  renderer.readRenderTargetPixels(target, 0, 0, width, height, data);
  plane.material = material;
  sphere.visible = true;
  renderer.setRenderTarget(null);
  return btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), ""));
}
const plain = (texture) => {
  const copy = texture.clone();
  copy.colorSpace = THREE.NoColorSpace;
  return new THREE.MeshBasicMaterial({ map: copy });
};
const image = material.map?.image ?? material.normalMap.image, { width, height } = image;
const result = {
  width, height,
  colorSpace: material.map.colorSpace,
  wrap: [material.map.wrapS, material.map.wrapT].map((mode) => mode === THREE.RepeatWrapping),
  sameTexture: material.aoMap === material.roughnessMap || material.aoMap.source === material.roughnessMap.source,
  metalness: material.metalness, roughness: material.roughness,
  specular: material.specularColor?.toArray(),
  textures: {
    basecolor: pixels(plain(material.map), width, height),
    orm: pixels(plain(material.roughnessMap), width, height),
    normal: pixels(plain(material.normalMap), width, height),
    shaded_normal: pixels(new THREE.MeshNormalMaterial({ normalMap: material.normalMap }), width, height),
  },
};
gltf.scene.add(new THREE.AmbientLight(0xffffff, 0.5));
const sun = new THREE.DirectionalLight(0xffffff, 3);
sun.position.set(-1, 1, 2);
gltf.scene.add(sun);
renderer.setSize(640, 320);
const camera = new THREE.PerspectiveCamera(40, 2, 0.1, 20);
camera.position.z = 4;
renderer.render(gltf.scene, camera);
result.picture = renderer.domElement.toDataURL("image/png");
report(result);
</script>"""


def drawn(folder) -> dict:
    """What three.js makes of `wall.glb`; textures as uint8 `[H, W, 3]`, first row first."""
    result = run_page(PAGE, {"three": npm_package("three") / "node_modules" / "three", "files": folder})
    for name, text in result["textures"].items():
        pixels = np.frombuffer(base64.b64decode(text), np.uint8)
        result["textures"][name] = pixels.reshape(result["height"], result["width"], 4)[::-1, :, :3]
    return result


def colours_on(picture: str, folder) -> np.ndarray:
    """Save the page's picture beside the .glb and return it as `[H, W, 3]`."""
    from PIL import Image

    path = folder / "picture.png"
    path.write_bytes(base64.b64decode(picture.partition(",")[2]))
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("change", [{}, dict(convention="directx", wrap=False, width=48, height=20)])
def test_three_js_draws_the_colours_that_the_reader_decodes(change, tmp_path):
    reader = exported(tmp_path / "export", **change)
    gltf_package(reader, tmp_path, "wall")
    result, texels = drawn(tmp_path), reader.decode_uint8(0).astype(int)
    textures = result["textures"]
    assert (result["width"], result["height"]) == reader.mip_size(0)
    assert result["colorSpace"] == "srgb"
    assert result["wrap"] == [reader.manifest["wrap"]] * 2
    assert result["sameTexture"]
    assert (result["metalness"], result["roughness"], result["specular"]) == (1, 1, [2, 2, 2])
    normals = texels[..., 3:6].copy()
    if change.get("convention") == "directx":
        normals[..., 1] = 255 - normals[..., 1]
    assert np.abs(textures["basecolor"].astype(int) - texels[..., :3]).max() <= 1
    assert np.abs(textures["orm"].astype(int) - texels[..., [7, 6, 8]]).max() <= 1
    assert np.abs(textures["normal"].astype(int) - normals).max() <= 1
    # Through the plane's tangents: the normal that a light meets on the plane, which faces the camera.
    vectors = normals / 127.5 - 1
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    expected = (vectors / np.maximum(length, 1e-6) + 1) * 127.5
    clear = length[..., 0] > 0.2
    assert clear.mean() > 0.8
    assert np.abs(textures["shaded_normal"] - expected)[clear].max() <= 3
    picture = colours_on(result["picture"], tmp_path)
    for middle in (170, 470):
        assert picture[155:165, middle - 20 : middle + 20].max(axis=2).mean() > 2
    assert picture[2, 2].tolist() == [0, 0, 0]


@needs_basis
def test_three_js_draws_what_basis_textures_hold(tmp_path):
    reader = exported(tmp_path / "export")
    gltf_package(reader, tmp_path, "wall", "ktx2")
    textures, texels = drawn(tmp_path)["textures"], reader.decode_uint8(0)
    assert psnr_db(textures["basecolor"], texels[..., :3]) > 32
    assert psnr_db(textures["normal"], texels[..., 3:6]) > 32
    assert psnr_db(textures["orm"], texels[..., [7, 6, 8]]) > 32


def test_the_page_says_what_was_run_and_what_is_not_in_the_file(tmp_path, capsys):
    reader = exported(tmp_path / "export", present=without("metallic"), convention="directx")
    export.main(["--load_dir", str(reader.folder), "--engine", "gltf", "--name", "wall", "--out", str(tmp_path)])
    assert "3 files" in capsys.readouterr().out
    page = (tmp_path / "gltf" / "wall_README.md").read_text(encoding="utf-8")
    assert VALIDATOR in page and f"three.js {THREE}" in page and "not run" in page
    assert "| metallic | not in the material | 0 |" in page
    assert "| displacement | not in the file |" in page
    assert "DirectX" in page
    assert (VALIDATOR, f"0.{THREE[1:]}.0") == (PINNED["gltf-validator"], PINNED["three"])


def test_two_runs_write_the_same_bytes(tmp_path):
    reader = exported(tmp_path / "export")
    assert material_glb(reader, "wall") == material_glb(reader, "wall")
    assert document(material_glb(reader, "wall"))["materials"][0]["name"] == "wall"
