"""Damaged and hostile exports are read or refused in one line, without a crash, a wait or a large allocation."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import struct
import tracemalloc
import warnings

import pytest

from formats.manifest import read_manifest
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from formats.words import grid_words
from tests.formats.export_changes import assert_one_line, changed, rewrite_file
from utils.errors import UserError

WRONG_VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    2.5,
    -1e9,
    1e300,
    math.nan,
    math.inf,
    10**9,
    10**30,
    10**400,
    "",
    "x",
    "..",
    "../hash_grid_0.dds",
    "a\\b",
    "C:x",
    "nul\0",
    "\ud800",
    "line\nbreak",
    "x" * 5000,
    [],
    [[]],
    [1] * 5000,
    {},
    {"a": {}},
)


def key_paths(value, path=()):
    """Every place in nested containers, the root left out."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from key_paths(item, (*path, key))


@pytest.mark.parametrize("which", ["rewrite", "rewrite_packed", "rewrite_curved"])
def test_no_change_of_a_manifest_is_more_than_one_line_to_the_user(which, request):
    manifest, write = request.getfixturevalue(which)
    paths = list(key_paths(manifest))
    cases = [(path, value, False) for path in paths for value in WRONG_VALUES] + [(path, None, True) for path in paths]
    cases = random.Random(0).sample(cases, 1500)
    assert len(paths) > 120
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, value, delete in cases:
            folder = write(changed(manifest, path, value, delete))
            try:
                reader = NeuralTextureReader(folder)
                assert reader.decode_uint8(0).shape == (12, 20, 11)
                reader.sample(0.5, 0.5, 1.5)
                for g in range(len(reader.manifest["grids"])):
                    grid_words(reader, g)
            except UserError as error:
                refused += 1
                assert_one_line(error, folder)
    assert refused > 1000


@pytest.mark.parametrize(
    "which,name",
    [
        ("packed", "by_hand_hash_grid_0_1.dds"),
        ("packed", "hash_grid_1.dds"),
        ("packed", "network_data.npz"),
        ("curved", "network_data.npz"),
    ],
)
def test_any_damage_behind_a_matching_hash_is_read_or_refused_in_one_line(which, tmp_path, name, request):
    folder = tmp_path / "export"
    shutil.copytree(request.getfixturevalue(which), folder)
    data, chance, refused = (folder / name).read_bytes(), random.Random(2), 0
    for _ in range(150):
        damaged = bytearray(data[: chance.choice((len(data), chance.randrange(len(data))))])
        for _ in range(chance.randrange(4) if damaged else 0):
            damaged[chance.randrange(min(len(damaged), 160))] = chance.randrange(256)
        rewrite_file(folder, name, bytes(damaged))
        try:
            NeuralTextureReader(folder).decode_uint8(0)
            repack_export(folder, tmp_path / "out", "packed")
        except UserError as error:
            refused += 1
            assert_one_line(error, tmp_path)
    assert refused > 30


def test_a_header_that_promises_more_than_the_file_holds_asks_for_no_memory(packed, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(packed, folder)
    data = bytearray((folder / "hash_grid_1.dds").read_bytes())
    data[12:20] = struct.pack("<2I", 1 << 14, 1 << 14)
    rewrite_file(folder, "hash_grid_1.dds", bytes(data))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["grids"][1].update(max_resolution=1 << 14, base_resolution=1 << 13)
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="hash_grid_1.dds is truncated"):
            NeuralTextureReader(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_decoder_larger_than_any_is_refused_before_its_file_is_read(rewrite):
    manifest, write = rewrite
    layers = manifest["network"]["layers"]
    layers[0]["rows"] = layers[1]["cols"] = 1 << 14
    layers.insert(1, {**layers[0], "cols": 1 << 14})
    with pytest.raises(UserError, match="the layers have .* weights, expected at most"):
        read_manifest(write(manifest))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_a_file_is_refused_without_waiting_for_it(packed, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(packed, folder)
    rewrite_file(folder, "hash_grid_1.dds", b"")
    (folder / "hash_grid_1.dds").unlink()
    os.mkfifo(folder / "hash_grid_1.dds")
    with pytest.raises(UserError, match="no plain file"):
        NeuralTextureReader(folder)


def test_a_manifest_too_large_for_one_is_not_read(rewrite):
    manifest, write = rewrite
    folder = write(manifest)
    with (folder / "manifest.json").open("ab") as file:
        file.truncate(1 << 32)
    with pytest.raises(UserError, match="too many for a manifest"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 32768, "height": 32768, "mips": 16},
        {"width": 65536, "height": 16384, "mips": 15},
        {"width": 10**9, "height": 1, "mips": 1},
    ],
)
def test_a_texture_too_large_for_any_engine_is_refused_before_memory_is_asked_for(rewrite, changes):
    manifest, write = rewrite
    levels = [[0, 0]] * changes["mips"]
    folder = write({**manifest, **changes, "mip_levels": levels})
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="at most"):
            NeuralTextureReader(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": "neural-texture", "version": ' + "9" * 5000 + "}"])
def test_json_made_to_overwhelm_a_parser_is_refused(rewrite, text):
    manifest, write = rewrite
    folder = write(manifest)
    (folder / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(UserError) as caught:
        read_manifest(folder)
    assert_one_line(caught.value, folder)
