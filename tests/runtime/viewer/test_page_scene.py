"""The page in Chromium: meshes, light, camera, relief, and the filter that samples add up to."""

from __future__ import annotations

import numpy as np

from tests.runtime.devices import require_device
from tests.runtime.viewer.pages import choose, different, pixels, show


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
    choices = {"environment": "sunset", "rotation": 180, "brightness": 3, "light": 4, "azimuth": 90, "elevation": -40}
    for name, value in {**choices, "exposure": 2}.items():
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


def test_stochastic_samples_add_up_to_the_filtered_texture(browser, address, slangc):
    choice = "mesh=plane&map=roughness&tiling=3&parallax=0&resolution=0.5"
    show(browser, address, f"{choice}&source=neural&sampling=stochastic")
    assert browser.run("viewer.renderer.count") >= 8
    mean = pixels(browser).astype(int)
    show(browser, address, f"{choice}&source=baked&sampling=smooth")
    filtered = pixels(browser).astype(int)
    assert np.abs(mean - filtered).mean() < 3


def test_another_compiler_takes_every_shader_too(browser, address, slangc):
    """naga, which Firefox compiles WGSL with, is behind wgpu."""
    device = require_device()
    script = browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="window.codes = new Set(); const make = GPUDevice.prototype.createShaderModule; "
        "GPUDevice.prototype.createShaderModule = function (d) { codes.add(d.code); return make.call(this, d); };",
    )["identifier"]
    taken: set[str] = set()
    try:
        for source, view in (("neural", "single"), ("neural", "error"), ("bc7", "single"), ("bc7", "error")):
            show(browser, address, f"mesh=cube&sampling=nearest&resolution=0.25&source={source}&view={view}")
            for sampling in ("smooth", "stochastic"):
                choose(browser, "sampling", sampling)
            codes = browser.run("[...codes]")
            assert len(codes) >= 6
            for code in set(codes) - taken:
                device.create_shader_module(code=code)
            taken |= set(codes)
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
