"""A trained material for the viewer's tests, a server for it, and a browser that looks at it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from runtime.viewer.materials import OpenedMaterial, open_material
from runtime.viewer.server import open_server
from runtime.viewer.site import Site
from tests.helpers import SHORT, make_material, run_folder, run_train
from tests.runtime.devtools import Page, open_browser
from tests.runtime.viewer.pages import HEIGHT, WIDTH


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A material that is not square, with heights."""
    folder = make_material(tmp_path_factory.mktemp("viewer") / "wall", WIDTH, HEIGHT)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    heights = 127.5 + 120 * np.sin(2 * np.pi * x / 24) * np.sin(2 * np.pi * y / 16)
    Image.fromarray(heights.astype(np.uint8)).save(folder / "wall_displacement.png")
    return folder


@pytest.fixture(scope="session")
def run_of(images, tmp_path_factory):
    """Train a preset for a moment, once: the run folder."""
    runs = {}

    def run(preset: str):
        if preset not in runs:
            out = tmp_path_factory.mktemp(preset)
            process = run_train("--preset", preset, "--data_dir", images, "--save_dir", out, *SHORT, cwd=out)
            assert process.returncode == 0, process.stderr
            runs[preset] = run_folder(out)
        return runs[preset]

    return run


@pytest.fixture(scope="session")
def run(run_of):
    return run_of("ue5")


@pytest.fixture(scope="session")
def material(run) -> OpenedMaterial:
    return open_material(run)


@contextlib.contextmanager
def served(*materials: OpenedMaterial) -> Iterator[str]:
    """Serve materials; yields the page's address."""
    with Site(materials) as site, open_server(site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def address(material) -> Iterator[str]:
    with served(material) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        # Small, as a processor draws it.
        page.resize(420, 260)
        yield page
