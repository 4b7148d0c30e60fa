"""The page in Chromium: it loads, draws what the reader decodes, and each control does what it says."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading

import numpy as np
import pytest

from images.mips import mip_size
from runtime.viewer.decoder import decoder_files
from runtime.viewer.materials import open_material
from runtime.viewer.site import Site
from runtime.viewer.static import write_static
from tests.runtime.devtools import open_browser
from tests.runtime.viewer.conftest import served
from utils.errors import UserError

WIDTH, HEIGHT = 96, 64
EXACT = "mesh=flat&sampling=nearest&tiling=1&resolution=1"
"""The texture itself, every texel exact."""


def require_decoder(material):
    try:
        decoder_files(material.folder)
    except UserError as error:
        pytest.skip(str(error))


def show(page, url, choice=""):
    """Open the page at a choice and wait for the whole picture."""
    page.errors.clear()
    page.call("Page.navigate", url="about:blank")
    page.open(f"{url}#{choice}")
    page.wait("document.documentElement.dataset.ready")
    settle(page)


def settle(page):
    page.run("viewer.settled()", 240)
    status = page.run("document.querySelector('#status').hidden || document.querySelector('#status').innerText")
    assert status is True, (status, page.errors)


def pixels(page):
    """What is on the canvas: uint8 `[h, w, 3]`."""
    settle(page)
    size, data = page.run(
        "viewer.pixels().then(({width, height, data}) => { let s = ''; for (let i = 0; i < data.length; i += 4096) "
        "s += String.fromCharCode(...data.subarray(i, i + 4096)); return [[height, width], btoa(s)]; })",
        240,
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(*size, 4)[..., :3]


def sheet(page, scale=1):
    """The flat texture at `scale` pixels a texel, cut out of the picture: uint8 `[H, W, 3]`."""
    picture = pixels(page)
    height, width = picture.shape[:2]
    top, left = (height - HEIGHT * scale + 1) // 2, (width - WIDTH * scale + 1) // 2
    return picture[top : top + HEIGHT * scale, left : left + WIDTH * scale].astype(int)


def choose(page, name, value):
    """Choose in a list, or set a slider, as a user's hand would change it."""
    page.run(
        f"(() => {{ const e = document.querySelector('#control-{name}'); e.value = {json.dumps(str(value))}; "
        "e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true})); })()"
    )
    settle(page)


def full_size(page):
    """One pixel a texel, by the key that the manual names."""
    page.run("document.querySelector('#canvas').focus()")
    page.key("1")
    settle(page)


def figure(page, name, column=0):
    return page.run(f"document.querySelectorAll('[data-figure=\"{name}\"] td')[{column}].textContent")


def different(first, second):
    """Share of the pixels that differ clearly."""
    return (np.abs(first.astype(int) - second).max(axis=2) > 8).mean()


@pytest.fixture
def page(browser, address):
    show(browser, address, EXACT + "&source=baked&map=diffuse")
    full_size(browser)
    return browser


@pytest.mark.parametrize("preset", ["ue5", "quality", "mobile"])
def test_the_shader_decodes_what_the_reader_does(preset, browser, run_of):
    material = open_material(run_of(preset))
    require_decoder(material)
    first_channel = {"diffuse": 0, "normal": 3, "roughness": 6, "displacement": 10}
    with served(material) as url:
        show(browser, url, EXACT)
        full_size(browser)
        for mip in (0, 1, 3):
            choose(browser, "mip", mip)
            decoded = material.reader.decode_uint8(mip).astype(int)
            width, height = mip_size(WIDTH, HEIGHT, mip)
            rows, columns = np.arange(HEIGHT) * height // HEIGHT, np.arange(WIDTH) * width // WIDTH
            for name, first in first_channel.items():
                choose(browser, "map", name)
                expected = decoded[..., first : first + 3] if first < 6 else decoded[..., [first] * 3]
                assert np.abs(sheet(browser) - expected[rows][:, columns]).max() <= 1, (mip, name)
        assert not browser.errors


@pytest.mark.parametrize("source", ["original", "baked"])
def test_images_are_shown_as_they_are(source, page, material):
    choose(page, "source", source)
    expected = material.textures.mips if source == "original" else [material.reader.decode_uint8(m) for m in range(2)]
    assert np.abs(sheet(page) - expected[0][..., :3]).max() <= 1
    choose(page, "map", "displacement")
    assert np.abs(sheet(page) - expected[0][..., 10:]).max() <= 1
    choose(page, "mip", 1)
    assert np.abs(sheet(page)[::2, ::2] - expected[1][..., 10:]).max() <= 1
    assert not page.errors


def test_tiling_repeats_the_texture(page):
    once = sheet(page)
    choose(page, "tiling", 3)
    assert (sheet(page) == once).all()
    picture = pixels(page)
    assert different(picture, np.broadcast_to(picture[0, 0], picture.shape)) * picture[..., 0].size > 6 * WIDTH * HEIGHT


def test_the_mip_by_itself_follows_the_size_of_a_pixel(page, material):
    page.key("0")
    page.run("viewer.cameras.flat.texelPixels = 0.5; viewer.renderer.invalidate()")
    picture = pixels(page)
    height, width = picture.shape[:2]
    top, left = (height - HEIGHT // 2 + 1) // 2, (width - WIDTH // 2 + 1) // 2
    shown = picture[top : top + HEIGHT // 2, left : left + WIDTH // 2].astype(int)
    assert np.abs(shown - material.reader.decode_uint8(1)[..., :3]).max() <= 1


def test_the_split_has_its_sources_on_either_side_of_the_divider(page, material):
    page.click("label[for=control-view-split]")
    choose(page, "sourceB", "original")
    sides = material.reader.decode_uint8(0)[..., :3].astype(int), material.textures.mips[0][..., :3].astype(int)
    shown = sheet(page)
    half = WIDTH // 2
    assert np.abs(shown[:, : half - 1] - sides[0][:, : half - 1]).max() <= 1
    assert np.abs(shown[:, half + 1 :] - sides[1][:, half + 1 :]).max() <= 1

    x, y = page.middle("#divider")
    page.drag((x, y), (x + 24, y))
    shown = sheet(page)
    assert np.abs(shown[:, : half + 22] - sides[0][:, : half + 22]).max() <= 1
    assert np.abs(shown[:, half + 26 :] - sides[1][:, half + 26 :]).max() <= 1

    before = page.run("viewer.state.values.split")
    page.run("document.querySelector('#divider').focus()")
    page.key("ArrowLeft")
    assert page.run("viewer.state.values.split") == pytest.approx(before - 0.02)
    assert figure(page, "PSNR overall", 0) == f"{material.manifest['psnr']['overall'][0]:.2f}"


def test_the_error_is_none_where_both_are_equal_and_grows_with_the_difference(page, material):
    choose(page, "source", "original")
    page.click("label[for=control-view-error]")
    choose(page, "amplify", 64)
    assert sheet(page).max() == 0
    choose(page, "source", "baked")
    error = np.abs(material.reader.decode_uint8(0)[..., :3].astype(int) - material.textures.mips[0][..., :3])
    expected = error.mean(axis=2)
    choose(page, "amplify", 1)
    small = sheet(page).sum(axis=2)
    assert small[expected == 0].max(initial=0) <= 2
    assert np.corrcoef(small.ravel(), expected.ravel())[0, 1] > 0.9
    choose(page, "amplify", 4)
    assert sheet(page).sum(axis=2)[expected > 4].min() > 0
    assert sheet(page).sum() > 2 * small.sum()


def test_bc7_and_astc_are_shown_with_their_figures(page, material):
    pictures = {}
    for source in ("original", "bc7", "astc"):
        choose(page, "source", source)
        pictures[source] = sheet(page)
        assert figure(page, "Bits per texel") != "–"
    for source in ("bc7", "astc"):
        assert 0 < np.abs(pictures[source] - pictures["original"]).mean() < 30
    assert figure(page, "PSNR diffuse") not in ("–", "identical")
    assert figure(page, "beside BC7") != "–"


def test_every_mesh_has_a_picture_of_its_own(browser, address):
    show(browser, address, "source=baked&sampling=nearest&resolution=0.5")
    pictures = []
    for mesh in ("sphere", "plane", "cube", "cloth", "flat"):
        browser.click(f"label[for=control-mesh-{mesh}]")
        pictures.append(pixels(browser))
    for i, first in enumerate(pictures):
        assert different(first, np.broadcast_to(first[0, 0], first.shape)) > 0.05
        for second in pictures[:i]:
            assert different(first, second) > 0.02
    assert not browser.errors


def test_light_and_camera_change_the_picture(browser, address):
    show(browser, address, "source=baked&sampling=nearest&resolution=0.5&mesh=cube&environment=overcast")
    before = pixels(browser)
    for name, value in (("environment", "sunset"), ("rotation", 180), ("exposure", 2), ("light", 4), ("azimuth", 90)):
        choose(browser, name, value)
        now = pixels(browser)
        assert different(before, now) > 0.02, name
        before = now
    choose(browser, "background", 0)
    x, y = browser.middle("#canvas")
    browser.run("document.querySelector('#control-background').click()")
    assert different(before, pixels(browser)) > 0.02
    before = pixels(browser)
    browser.drag((x, y + 20), (x + 60, y + 30))
    turned = pixels(browser)
    assert different(before, turned) > 0.02
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    assert different(turned, pixels(browser)) > 0.02
    browser.run("document.querySelector('#canvas').focus()")
    browser.key("0")
    assert different(before, pixels(browser)) < 0.01


def test_the_lamp_moves_by_hand_and_by_keys(browser, address):
    show(browser, address, "source=baked&sampling=nearest&resolution=0.25")
    azimuth = browser.run("viewer.state.values.azimuth")
    x, y = browser.middle("#lamp")
    browser.drag((x, y), (x + 40, y))
    assert browser.run("viewer.state.values.azimuth") == azimuth + 20
    browser.key("ArrowRight")
    assert browser.run("viewer.state.values.azimuth") == azimuth + 25


def test_relief_moves_what_is_seen_from_the_side(browser, address):
    show(browser, address, "source=baked&sampling=nearest&resolution=0.5&mesh=plane&map=displacement&parallax=0")
    browser.run("viewer.cameras.orbit.yaw = 1; viewer.renderer.invalidate()")
    flat = pixels(browser)
    choose(browser, "parallax", 0.1)
    assert different(flat, pixels(browser)) > 0.01


def test_stochastic_samples_add_up_to_the_filtered_texture(browser, address, material):
    require_decoder(material)
    choice = "mesh=plane&map=roughness&tiling=3&parallax=0&resolution=0.5"
    show(browser, address, f"{choice}&source=neural&sampling=stochastic")
    assert browser.run("viewer.renderer.count") >= 8
    mean = pixels(browser).astype(int)
    show(browser, address, f"{choice}&source=baked&sampling=smooth")
    filtered = pixels(browser).astype(int)
    assert np.abs(mean - filtered).mean() < 3


def test_a_material_without_its_shader_says_what_is_missing(browser, material, monkeypatch):
    def refuse(folder):
        raise UserError("the compiler is not there: pip install it")

    monkeypatch.setattr("runtime.viewer.site.decoder_files", refuse)
    with served(material) as url:
        show(browser, url, "resolution=0.25&sampling=nearest")
        assert browser.run("viewer.state.values.source") == "baked"
        assert "pip install it" in browser.run("document.querySelector('#notice').innerText")
        assert browser.run("document.querySelector('#control-source option[value=neural]').disabled")


def test_two_runs_are_compared_in_one_split(browser, run, material):
    with served(material, open_material(run)) as url:
        show(browser, url, "")
        assert browser.run("viewer.state.values.view") == "split"
        assert browser.run("document.querySelectorAll('#control-materialB option').length") == 2
        show(browser, url, EXACT + "&map=diffuse&view=split&source=baked&materialB=1&sourceB=original")
        full_size(browser)
        shown = sheet(browser)
        assert np.abs(shown[:, 50:] - material.textures.mips[0][:, 50:, :3]).max() <= 1


def test_a_choice_is_kept_in_the_address(page, address):
    choose(page, "map", "roughness")
    page.wait("location.hash.includes('map=roughness')")
    page.run("location.reload()")
    page.wait("document.documentElement.dataset.ready && viewer.state.values.map === 'roughness'")


def test_nonsense_in_the_address_is_left_out(browser, address):
    show(browser, address, "mesh=teapot&tiling=1e9&mip=99&material=7&source=xyz&split=NaN&unknown=1&resolution=0.25")
    values = browser.run("viewer.state.values")
    assert (values["mesh"], values["tiling"], values["material"], values["split"]) == ("sphere", 8, 0, 0.5)
    assert values["mip"] == 6
    assert values["source"] in ("neural", "original", "baked")


def test_every_control_has_a_name_and_a_tip(page):
    unnamed = page.run(
        "[...document.querySelectorAll('#controls select, #controls input')].filter(e => !(e.labels?.length))"
        ".map(e => e.id)"
    )
    assert unnamed == []
    assert page.run("[...document.querySelectorAll('.row')].every(row => row.title.length > 10)")


def test_a_narrow_page_keeps_picture_and_panel(browser, address):
    browser.resize(360, 640)
    try:
        show(browser, address, "source=baked&sampling=nearest&resolution=0.25")
        assert browser.run("document.documentElement.scrollWidth") <= 360
        boxes = browser.run(
            "['#stage', '#panel'].map(s => { const b = document.querySelector(s).getBoundingClientRect(); "
            "return [b.width, b.height]; })"
        )
        assert all(width == 360 and height > 200 for width, height in boxes)
    finally:
        browser.resize(420, 260)


@pytest.fixture(scope="module")
def plain_browser():
    """A browser without a graphics adapter."""
    with open_browser("--use-gl=disabled") as page:
        page.resize(420, 260)
        yield page


def test_a_browser_that_has_no_webgpu_is_told_which_have_it(plain_browser, address):
    script = plain_browser.call("Page.addScriptToEvaluateOnNewDocument", source="delete Navigator.prototype.gpu;")[
        "identifier"
    ]
    plain_browser.open(address)
    plain_browser.wait("document.documentElement.dataset.ready === 'images'")
    assert "This browser has no WebGPU" in plain_browser.run("document.querySelector('#notice').innerText")
    plain_browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_without_an_adapter_the_page_says_so_and_shows_images(plain_browser, address, material):
    plain_browser.call("Page.navigate", url="about:blank")
    plain_browser.open(address)
    plain_browser.wait("document.documentElement.dataset.ready === 'images'")
    notice = plain_browser.run("document.querySelector('#notice').innerText")
    assert all(name in notice for name in ("WebGPU", "Chrome", "Edge", "Safari", "Firefox"))
    assert not plain_browser.run(
        "[...document.querySelectorAll('#control-source option')].some(o => o.value === 'neural')"
    )

    def scaled(texels):
        """The sheet as it is laid out: enlarged to 92 % of the picture, nearest texel."""
        picture = pixels(plain_browser)
        height, width = picture.shape[:2]
        middle = texels[texels.shape[0] // 2 + 1, texels.shape[1] // 4]
        scale = min(width / WIDTH, height / HEIGHT) * 0.92
        y = (height - HEIGHT * scale) / 2 + (texels.shape[0] // 2 + 1.5) * HEIGHT * scale / texels.shape[0]
        x = (width - WIDTH * scale) / 2 + (texels.shape[1] // 4 + 0.5) * WIDTH * scale / texels.shape[1]
        return np.abs(picture[int(y), int(x)].astype(int) - middle).max()

    settle(plain_browser)
    for name, first in (("diffuse", 0), ("normal", 3), ("roughness", 6), ("displacement", 10)):
        choose(plain_browser, "map", name)
        for mip in (0, 2):
            choose(plain_browser, "mip", mip)
            for source, texels in (
                ("baked", material.reader.decode_uint8(mip)),
                ("original", material.textures.mips[mip]),
            ):
                choose(plain_browser, "source", source)
                assert scaled(texels[..., first : first + (3 if first < 6 else 1)]) <= 1
    plain_browser.click("label[for=control-view-split]")
    settle(plain_browser)
    assert not plain_browser.run("document.querySelector('#divider').hidden")
    assert not plain_browser.errors


def test_a_static_folder_works_from_any_server(browser, material, tmp_path):
    with Site([material]) as site:
        write_static(site, tmp_path / "site")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            show(browser, url, EXACT + "&source=bc7&map=diffuse&view=split&sourceB=original")
            full_size(browser)
            shown = sheet(browser)
            assert np.abs(shown[:, 50:] - material.textures.mips[0][:, 50:, :3]).max() <= 1
            assert not browser.errors
        finally:
            server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass
