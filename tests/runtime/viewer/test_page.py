"""The page in Chromium: it draws what the reader decodes, and each control does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.codecs import CODECS
from images.mips import mip_size
from runtime.viewer.materials import open_material
from tests.runtime.viewer.conftest import served
from tests.runtime.viewer.pages import EXACT, HEIGHT, WIDTH, choose, different, figure, full_size, pixels, sheet, show


@pytest.fixture
def page(browser, address):
    show(browser, address, EXACT + "&source=baked&map=diffuse")
    full_size(browser)
    return browser


@pytest.mark.parametrize("preset", ["ue5", "quality", "mobile"])
def test_the_shader_decodes_what_the_reader_does(preset, browser, run_of, slangc):
    material = open_material(run_of(preset))
    first_channel = {"diffuse": 0, "normal": 3, "roughness": 6, "displacement": 10}
    with served(material) as url:
        show(browser, url, EXACT)
        full_size(browser)
        # A picture takes a software GPU seconds: every map once, then other mips of the last.
        for mip, name in (*((0, name) for name in first_channel), (1, "displacement"), (3, "displacement")):
            choose(browser, "mip" if mip else "map", mip or name)
            decoded = material.reader.decode_uint8(mip).astype(int)
            width, height = mip_size(WIDTH, HEIGHT, mip)
            rows, columns = np.arange(HEIGHT) * height // HEIGHT, np.arange(WIDTH) * width // WIDTH
            first = first_channel[name]
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
        encoder = "" if source == "original" else CODECS[source].encoder("linear")
        assert encoder in page.run("document.querySelector('#figures .note').textContent")
    for source in ("bc7", "astc"):
        assert 0 < np.abs(pictures[source] - pictures["original"]).mean() < 30
    assert figure(page, "PSNR diffuse") not in ("–", "identical")
    assert figure(page, "beside BC7") != "–"


def test_memory_of_the_decoder_is_told_apart_from_the_files(browser, address, material, slangc):
    show(browser, address, EXACT + "&source=neural&map=diffuse")
    files = material.manifest["bpp_mips"] * WIDTH * HEIGHT / 8
    note = browser.run("document.querySelector('#figures .note').textContent")
    assert f"takes {figure(browser, 'GPU memory')} as the shader reads it, {files / 1e3:,.0f} kB as files" in note


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
    page.wait("document.documentElement?.dataset.ready && window.viewer?.state.values.map === 'roughness'")


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


def test_a_source_that_comes_late_does_not_take_the_place_of_a_newer_choice(page):
    """Held back by its figures, as an encoder may take seconds."""
    page.run(
        "window.held = new Promise(resolve => window.release = resolve); window.real = window.fetch; "
        "window.fetch = async (path) => { if (path.includes('bc7/figures')) { await held; } return real(path); }; "
        "viewer.set({source: 'bc7'})"
    )
    page.wait("document.querySelector('#status').innerText.includes('BC7')")
    choose(page, "source", "original")
    before = pixels(page)
    page.run("(async () => { release(); await (await real('materials/0/bc7/relief.png')).blob(); })()", 240)
    page.run("new Promise(resolve => setTimeout(resolve, 1500))")
    assert page.run("document.querySelector('#label-left').textContent") == "Original"
    assert (pixels(page) == before).all()
    assert not page.errors


def test_a_mip_can_be_chosen_while_the_first_source_is_loaded(browser, address):
    script = browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="const real = fetch; window.fetch = async (path) => { if (path.includes('figures.json')) "
        "await new Promise(resolve => window.release = resolve); return real(path); };",
    )["identifier"]
    try:
        browser.errors.clear()
        browser.call("Page.navigate", url="about:blank")
        browser.open(f"{address}#{EXACT}&source=baked&map=diffuse")
        browser.wait("Boolean(window.release)")
        browser.run(
            "const e = document.querySelector('#control-mip'); e.value = 1; e.dispatchEvent(new Event('change'))"
        )
        browser.run("release()")
        browser.wait("document.documentElement.dataset.ready === 'webgpu'")
        assert "PSNR of mip 1" in browser.run("document.querySelector('#figures .note').textContent")
        assert not browser.errors
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_fewer_pixels_are_drawn_where_less_resolution_is_chosen(page):
    for share in (0.5, 0.25, 1):
        choose(page, "resolution", share)
        assert page.run("viewer.renderer.size[0] / document.querySelector('#canvas').width") == pytest.approx(
            share, 0.02
        )


@pytest.mark.parametrize("width", [900, 360])
def test_nothing_at_the_bottom_of_the_picture_is_cut_off(width, browser, address):
    browser.resize(width, 640)
    try:
        show(browser, address, "source=baked&sampling=nearest&resolution=0.25&view=error")
        boxes = browser.run(
            "['#stage', '#legend', '#bar-hint', '#bar-frame'].map(s => document.querySelector(s))"
            ".filter(e => e.offsetParent !== null || e.id === 'stage').map(e => { const b = e.getBoundingClientRect(); "
            "return [b.left, b.top, b.right, b.bottom, e.scrollWidth - e.clientWidth]; })"
        )
        stage, *bars = boxes
        assert len(bars) == (3 if width == 900 else 2)
        for left, top, right, bottom, hidden in bars:
            assert hidden <= 0
            assert stage[0] <= left and stage[1] <= top and right <= stage[2] and bottom <= stage[3]
        for i, first in enumerate(bars):
            for second in bars[:i]:
                assert first[0] >= second[2] or second[0] >= first[2] or first[1] >= second[3] or second[1] >= first[3]
    finally:
        browser.resize(420, 260)


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
