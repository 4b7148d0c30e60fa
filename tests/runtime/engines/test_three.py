"""The package for three.js: its module in headless Chromium, pixels compared with the reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_version_2 import RandomGrid, write_version_2
from configs import HashGridConfig
from formats.reader import NeuralTextureReader
from images.colour import srgb_to_linear
from runtime.engines.shader_source import with_prefix, with_resources_as_parameters
from runtime.engines.three import three_package
from tests.formats.reference_decoder import make_source
from tests.runtime.browser import run_page
from tests.runtime.materials import exported, without
from training.exporting import export_material

PAGE = (Path(__file__).parent / "three_page.html").read_text("utf-8")
GROUPS = {"diffuse": (0, 1, 2), "normal": (3, 4, 5), "surface": (6, 7, 8), "rest": (9, 10)}
RUN_S = 240


def _item(group: str, size: tuple[int, int], **more) -> dict:
    return {
        "group": group, "size": size, "scale": (1, 1), "offset": (0, 0), "sampling": "nearest", "flipV": True, "frames": 1
    } | more  # fmt: skip


def _rendered(package: Path, name: str, items: list[dict]) -> list[np.ndarray]:
    """Return what three.js draws for each item: `[height, width, 4]`, 0 to 255."""
    page = PAGE.replace("NAME", name).replace("ITEMS", json.dumps(items))
    results = run_page(page, {"package": package}, RUN_S)
    return [np.array(pixels).reshape(item["size"][1], item["size"][0], 4) for pixels, item in zip(results, items)]


def _gathered(folder: Path) -> NeuralTextureReader:
    grids = [
        HashGridConfig(
            max_resolution=16, n_levels=3, quantize_bits=4, save_bits=64, interpolation="gather"
        ),
        HashGridConfig(max_resolution=8, n_levels=2, quantize_bits=4, save_bits=32, interpolation="bilinear"),
    ]  # fmt: skip
    source = make_source(
        64,
        32,
        hash_grid_configs=grids,
        n_frequencies=2,
        period_cells=1,
        phases=2,
        position_order=1,
        diffuse_space="srgb",
    )
    export_material(source, folder)
    return NeuralTextureReader(folder)


def _mixed_bits(folder: Path) -> NeuralTextureReader:
    """Feature curves, and a linear decoder beside the network."""
    grids = [RandomGrid(16, 3, (8, 6, 5, 4, 3, 2, 1)), RandomGrid(8, 2, (8, 5, 3), gathered=False)]
    write_version_2(folder, 64, 32, grids, position_order=1, diffuse_space="srgb")
    return NeuralTextureReader(folder)


WRITERS = {"gathered": _gathered, "mixed bits": _mixed_bits, "bilinear": lambda folder: exported(folder, 64, 32)}


@pytest.mark.parametrize("kind", WRITERS)
def test_maps_drawn_by_three_equal_the_decoded_ones(tmp_path, kind):
    reader = WRITERS[kind](tmp_path / "export")
    package = tmp_path / "package"
    package.mkdir()
    three_package(reader, package, "wall")
    items, expected = [], []
    for mip in (0, 1, 3):
        decoded = reader.decode(mip)
        if reader.manifest["channels"][0]["space"] == "srgb":
            decoded[..., :3] = srgb_to_linear(decoded[..., :3])
        for group, channels in GROUPS.items():
            items.append(_item(group, reader.mip_size(mip)))
            expected.append(decoded[..., channels])
    # A quarter of a mip beyond the border, where texels wrap, with v from the top.
    items.append(_item("normal", (32, 16), scale=(0.5, 0.5), offset=(-0.25, -0.25), flipV=False))
    decoded = reader.decode(0)[..., GROUPS["normal"]]
    expected.append(np.roll(decoded, (8, 16), (0, 1))[:16, :32])
    for image, values, item in zip(_rendered(package, "wall", items), expected, items):
        rows = image if item["flipV"] else image[::-1]
        error = np.abs(rows[..., : values.shape[-1]] - 255 * values)
        assert error.max() <= 1, (item, error.max())


def test_noise_averages_to_the_filtered_texture(tmp_path):
    reader = exported(tmp_path / "export", 64, 64)
    package = tmp_path / "package"
    package.mkdir()
    three_package(reader, package, "wall")
    # Pixels lie on the corners of four texels each.
    shift = 0.5 / 64
    item = _item("diffuse", (16, 16), scale=(0.25, 0.25), offset=(shift, shift), sampling="stochastic", frames=96)
    (image,) = _rendered(package, "wall", [item])
    texels = reader.decode(0)[..., :3]
    corners = (texels + np.roll(texels, -1, 1) + np.roll(texels, 1, 0) + np.roll(np.roll(texels, -1, 1), 1, 0)) / 4
    expected = 255 * corners[48:, :16]
    spread = 255 * np.stack([np.roll(np.roll(texels, -x, 1), y, 0)[48:, :16] for x in (0, 1) for y in (0, 1)]).std(0)
    error = image[..., :3] - expected
    # The mean of 96 draws strays by a tenth of the draws' deviation; the half step is the target's rounding.
    assert (np.abs(error) <= 0.6 * spread + 1).all()
    assert np.abs(error.mean()) < 0.5


def test_package_holds_all_that_its_page_asks_for(tmp_path):
    reader = exported(tmp_path / "export", present=without("normal", "specular"), convention="directx")
    written = three_package(reader, tmp_path, "wall")
    names = {path.name for path in written}
    assert names == {
        "wall.js", "wall.html", "wall_README.md", "wall_grid_0.bin", "wall_grid_1.bin", "wall_weights.bin",
        "three.webgpu.min.js", "three.LICENSE",
    }  # fmt: skip
    module = (tmp_path / "wall.js").read_text("utf-8")
    assert "normalNode" not in module and "specularColorNode" not in module
    for file in names:
        if file.endswith(".bin"):
            assert f'new URL( "./{file}", import.meta.url )' in module
    assert (tmp_path / "wall_weights.bin").stat().st_size % (256 * 16) == 0


def test_page_of_the_package_draws_a_lit_material(tmp_path):
    reader = exported(tmp_path / "export")
    three_package(reader, tmp_path, "wall")
    page = (tmp_path / "wall.html").read_text("utf-8").replace("./", "/package/")
    # Headless Chromium does not give back what a canvas shows, so the page's scene is drawn into a target instead.
    page = page.replace("Scene,\n", "RenderTarget, Scene,\n").replace(
        "renderer.setAnimationLoop(",
        "const target = new RenderTarget( 96, 64 ); renderer.setRenderTarget( target ); renderer.render( scene, camera ); "
        "report( [ message.textContent, "
        "Array.from( await renderer.readRenderTargetPixelsAsync( target, 0, 0, 96, 64 ) ) ] ); (",
    )
    message, pixels = run_page(page, {"package": tmp_path}, RUN_S)
    assert "decoded in the fragment shader" in message
    image = np.array(pixels).reshape(64, 96, 4)[..., :3]
    drawn = image.any(-1)
    assert drawn[:, :48].mean() > 0.1 and drawn[:, 48:].mean() > 0.1
    assert len(np.unique(image[drawn], axis=0)) > 100


def test_resources_become_parameters_of_functions_and_calls():
    code = """@binding(0) @group(0) var grid_0 : texture_2d<u32>;
fn fetch_0( at_0 : i32) -> u32 { return textureLoad(grid_0, vec2<i32>(at_0), 0).x; }
fn twice_0( at_0 : i32) -> u32 { return fetch_0(i32(fetch_0(at_0))); }
fn plain_0() -> i32 { return 1; }
"""
    changed = with_resources_as_parameters(code)
    assert [(r.name, r.type) for r in changed.resources] == [("grid_0", "texture_2d<u32>")]
    assert "fn fetch_0( at_0 : i32, grid_0 : texture_2d<u32>)" in changed.code
    assert "fetch_0(i32(fetch_0(at_0, grid_0)), grid_0)" in changed.code
    assert "fn plain_0()" in changed.code
    assert "fn wall_plain_0()" in with_prefix(changed.code, "wall_")
