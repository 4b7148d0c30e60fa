"""The page where something is missing: without WebGPU, without the shader, without the toolkit's own server."""

from __future__ import annotations

import functools
import http.server
import threading

import numpy as np
import pytest

from runtime.viewer.site import Site
from runtime.viewer.static import write_static
from tests.runtime.devtools import open_browser
from tests.runtime.viewer.conftest import served
from tests.runtime.viewer.pages import EXACT, HEIGHT, WIDTH, choose, full_size, pixels, settle, sheet, show
from utils.errors import UserError


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
    plain_browser.wait("document.documentElement?.dataset.ready === 'images'")
    assert "This browser has no WebGPU" in plain_browser.run("document.querySelector('#notice').innerText")
    plain_browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_without_an_adapter_the_page_says_so_and_shows_images(plain_browser, address, material):
    plain_browser.call("Page.navigate", url="about:blank")
    plain_browser.open(address)
    plain_browser.wait("document.documentElement?.dataset.ready === 'images'")
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


def test_a_material_without_its_shader_says_what_is_missing(browser, material, monkeypatch):
    def refuse(folder):
        raise UserError("the compiler is not there: pip install it")

    monkeypatch.setattr("runtime.viewer.site.decoder_files", refuse)
    with served(material) as url:
        show(browser, url, "resolution=0.25&sampling=nearest")
        assert browser.run("viewer.state.values.source") == "baked"
        assert "pip install it" in browser.run("document.querySelector('#notice').innerText")
        assert browser.run("document.querySelector('#control-source option[value=neural]').disabled")


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
