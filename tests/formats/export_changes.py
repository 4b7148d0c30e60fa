"""Changes of a written export by hand, as another tool would make one that the trainer does not make."""

from __future__ import annotations

import copy
import hashlib
import json

import numpy as np

from formats.export_folder import grid_files, write_grid
from formats.storage import grid_storage


def changed(manifest, path, value, delete=False):
    """Return a manifest with another value at a path of keys, or without the last of them."""
    manifest = copy.deepcopy(manifest)
    place = manifest
    for key in path[:-1]:
        place = place[key]
    if delete:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return manifest


def assert_one_line(error, folder):
    """Assert that an error is one short line of ASCII that names the folder."""
    text = str(error)
    assert text.isprintable() and text.isascii() and len(text) < 600 and str(folder) in text, text


def rewrite_file(folder, name, data):
    """Replace a file's content, and what the manifest says of it."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / name).write_bytes(data)
    for entry in manifest["files"]:
        if entry["name"] == name:
            entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def replace_grid(folder, g, bits, storage, features=None, seed=5):
    """Give grid `g` features of other bits with random codes, which are returned, coarsest level first.

    With `features` their number changes too: the decoder's inputs are then those of the new grid.
    """
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    entry, stored = manifest["grids"][g], grid_storage(bits, storage)
    rng = np.random.default_rng(seed)
    codes = [
        np.stack([rng.integers(0, 1 << b, (entry["base_resolution"] << level,) * 2) for b in bits], axis=-1)
        for level in range(entry["n_levels"])
    ]
    gone = set(entry["files"])
    if features:
        manifest["network"]["inputs"] += features - entry["n_features"]
    entry.update(stored.entry(), files=grid_files(g, stored.n_files, "by_hand"))
    write_grid(folder, entry["files"], [stored.pack(level) for level in codes[::-1]], stored)
    manifest["files"] = [file for file in manifest["files"] if file["name"] not in gone]
    manifest["files"] += [{"name": name, "bytes": 0, "sha256": "0" * 64} for name in entry["files"]]
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    for name in entry["files"]:
        rewrite_file(folder, name, (folder / name).read_bytes())
    return codes
