"""Damaged exports: manifests, DDS files and npz files, whose sums fit again more often than not."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import shutil
from pathlib import Path

from benchmarks.reliability import structures
from benchmarks.reliability.caged import Kind
from benchmarks.reliability.damage import damaged_bytes, damaged_json, json_bytes

MANIFEST = "manifest.json"
DECODED_TEXELS = 1 << 22
"""Finest mip that is decoded: an export of some kilobytes may well stand for a texture of any size."""

_STRUCTURES = {".dds": structures.DDS, ".npz": structures.ZIP}


def write_exports(folder: Path) -> None:
    """Write small exports with random weights, of each storage and manifest version, as samples."""
    from benchmarks.random_exports import grid, make_source, preset
    from benchmarks.random_version_2 import RandomGrid, write_version_2
    from training.exporting import export_material

    grids = [grid(16, 3, quantize_bits=4, save_bits=32, interpolation="gather"), grid(8, 2)]
    sources = (
        make_source(20, 12),
        make_source(16, 16, storage="packed", hash_grid_configs=grids, use_bias=True),
        make_source(24, 16, storage="true_rate", hash_grid_configs=grids, network_precision="int8"),
        preset("quality", width=32, height=32),
    )
    for number, source in enumerate(sources):
        export_material(source, folder / f"{number:02}")
    write_version_2(
        folder / "curves", width=16, height=16, grids=[RandomGrid(), RandomGrid(8, 2, (5,), gathered=False)]
    )
    write_version_2(folder / "linear", precision="float16", grids=[RandomGrid(curves=False)], position_order=1)


def _copied_export(samples: Path, folder: Path, chance: random.Random) -> tuple[Path, dict]:
    export = chance.choice(sorted((samples / "exports").iterdir()))
    shutil.copytree(export, folder / "export")
    return folder / "export", json.loads((folder / "export" / MANIFEST).read_text("utf-8"))


def make_manifest(samples: Path, folder: Path, chance: random.Random) -> None:
    """Write an export whose manifest is damaged."""
    export, manifest = _copied_export(samples, folder, chance)
    (export / MANIFEST).write_bytes(json_bytes(damaged_json(manifest, chance), chance))


def fit_manifest(export: Path, name: str) -> None:
    """Write the present size and sum of a file into its manifest."""
    manifest, data = json.loads((export / MANIFEST).read_text("utf-8")), (export / name).read_bytes()
    for entry in manifest["files"]:
        if entry["name"] == name:
            entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (export / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def make_file(suffix: str, samples: Path, folder: Path, chance: random.Random) -> None:
    """Write an export one of whose files is damaged; in nine of ten the manifest has its new size and sum."""
    export, _ = _copied_export(samples, folder, chance)
    path = chance.choice(sorted(export.glob(f"*{suffix}")))
    data = damaged_bytes(path.read_bytes(), _STRUCTURES[suffix], chance, [(export / MANIFEST).read_bytes()])
    path.write_bytes(data)
    if chance.random() < 0.9:
        fit_manifest(export, path.name)


def whole_export(samples: Path, folder: Path) -> None:
    """Write an undamaged export."""
    _copied_export(samples, folder, random.Random(0))


def open_export(folder: Path, out: Path) -> None:
    """Read an export as the commands do: open, decode, sample, summarise, repack under its own name, bake."""
    from formats.names import material_prefix
    from formats.reader import NeuralTextureReader
    from formats.repack import repack_export
    from reporting.summary import summary_lines
    from runtime.bake.bake import bake

    reader = NeuralTextureReader(folder / "export")
    name = material_prefix(reader.manifest.get("name", ""))
    list(summary_lines(reader.manifest))
    sizes = {mip: reader.mip_size(mip) for mip in reader.stored_mips}
    mip = next((mip for mip, (width, height) in sizes.items() if width * height <= DECODED_TEXELS), None)
    if mip is not None:
        reader.decode_uint8(mip)
        reader.sample(0.5, 0.5, mip + 0.5)
    repack_export(folder / "export", out / "packed", "packed", name)
    if mip == 0:
        bake(reader, out / "baked", ["png"], name, 0, None)


KINDS = [
    Kind("manifest", make_manifest, open_export, 600, whole_export),
    Kind("dds", functools.partial(make_file, ".dds"), open_export, 350, whole_export),
    Kind("npz", functools.partial(make_file, ".npz"), open_export, 350, whole_export),
]
