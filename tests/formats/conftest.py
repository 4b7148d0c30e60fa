"""Exports whose manifests and files the tests of formats change."""

from __future__ import annotations

import json

import pytest

from benchmarks.random_version_2 import RandomGrid, write_version_2
from formats.manifest import update_manifest
from tests.formats.export_changes import replace_grid
from tests.formats.reference_decoder import ALL, grid, make_source, random_texture_set
from training.exporting import export_material


def make_export(folder, storage):
    """An export whose manifest has every key that this release knows of its storage."""
    export_material(
        make_source(
            network_precision="int8",
            use_bias=True,
            n_frequencies=2,
            period_cells=2,
            position_order=1,
            storage=storage,
            hash_grid_configs=[grid(8, interpolation="gather", quantize_bits=4, save_bits=32), grid(4)],
        ),
        folder,
        random_texture_set(20, 12, ALL),
    )
    update_manifest(folder, {"ssim": {"overall": [0.5, 0.25]}, "flip": {"diffuse": [0.125, None]}})
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return make_export(tmp_path_factory.mktemp("export"), "true_rate")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Features that differ in bits in two RGBA8 textures, and equal ones in a texture of words."""
    folder = make_export(tmp_path_factory.mktemp("packed"), "packed")
    replace_grid(folder, 0, [4, 8, 1, 16, 3, 7, 2, 6], "packed_rgba8")
    return folder


@pytest.fixture(scope="module")
def curved(tmp_path_factory):
    """Feature curves and a linear decoder: a manifest of version 2."""
    folder = tmp_path_factory.mktemp("curved")
    write_version_2(folder, grids=[RandomGrid(), RandomGrid(4, 2, (8, 8, 2), gathered=False)])
    return folder


@pytest.fixture
def rewrite_curved(curved):
    yield from rewriting(curved)


@pytest.fixture
def rewrite(exported):
    yield from rewriting(exported)


@pytest.fixture
def rewrite_packed(packed):
    yield from rewriting(packed)


def rewriting(exported):
    """Write another manifest into the export; the valid one comes back afterwards."""
    path = exported / "manifest.json"
    text = path.read_text("utf-8")

    def write(manifest):
        path.write_text(json.dumps(manifest), "utf-8")
        return exported

    yield json.loads(text), write
    path.write_text(text, "utf-8")
