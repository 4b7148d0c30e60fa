"""What tests do with the viewer's page: open it at a choice, change a control, read the picture."""

from __future__ import annotations

import base64
import json

import numpy as np

WIDTH, HEIGHT = 96, 64
EXACT = "mesh=flat&sampling=nearest&tiling=1&resolution=1"
"""The texture itself, every texel exact."""


def show(page, url, choice=""):
    """Open the page at a choice and wait for the whole picture."""
    page.errors.clear()
    page.call("Page.navigate", url="about:blank")
    page.open(f"{url}#{choice}")
    page.wait("document.documentElement?.dataset.ready")
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
