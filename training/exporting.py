"""Export of a trained material: DDS grids, network_data.npz and the manifest, measured by reading them back."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, VERSION
from dataset import TextureSet, get_texture_config
from formats.codes import container_format, pack_codes
from formats.dds import FORMATS, HEADER_BYTES, write_dds
from formats.manifest import FORMAT, MANIFEST_NAME
from formats.manifest import VERSION as MANIFEST_VERSION
from formats.npz import npz_bytes
from formats.reader import NeuralTextureReader
from model.decoder.stored_weights import pack_network
from model.layout import ModelLayout
from quantize import values_to_codes
from reporting.quality import error_figures
from training.export_source import ExportSource
from training.rates import bytes_fetched
from utils.errors import UserError, describe_os_error
from utils.files import write_bytes, write_json

NETWORK_NAME = "network_data.npz"
PLUGIN_OUTPUT_ACTIVATIONS = ("none", "leaky_relu", "hard_swish", "hard_gelu")
"""Output activations that the UE5 plugin can be told to use."""


@dataclass
class Export:
    """A finished export."""

    manifest: dict
    """The manifest as it was written."""
    decoded: dict[int, np.ndarray]
    """Every stored mip as the reader decodes it from the written files, uint8 `[H, W, 11]` in file coding; empty where
    there was no reference to compare with."""


def plugin_obstacles(layout: ModelLayout, storage: str) -> list[str]:
    """Return what keeps the UE5 plugin from reading an export of a model, in words; empty where nothing does."""
    obstacles = []
    for g, grid in enumerate(layout.grids):
        dxgi_format = container_format(grid.quantize_bits, storage)
        if FORMATS[dxgi_format].name != "R8G8B8A8_UNORM":
            obstacles.append(f"grid {g} is stored as {FORMATS[dxgi_format].name}")
        if grid.interpolation != "bilinear":
            obstacles.append(f"grid {g} has {grid.interpolation} interpolation")
        if grid.n_features != 4:
            obstacles.append(f"grid {g} has {grid.n_features} features, not 4")
    if layout.period_cells or layout.phases != 1:
        obstacles.append("the positional encoding has a period or phases")
    if layout.position_order:
        obstacles.append("the first layer depends on the place in a cell")
    if any(layer.bias_offset is not None for layer in layout.layers):
        obstacles.append("the network has biases")
    if layout.network_precision != "float32":
        obstacles.append(f"the weights are {layout.network_precision}")
    if any(layer.activation != "leaky_relu" for layer in layout.layers[:-1]):
        obstacles.append(f"the hidden activation is {layout.layers[0].activation}, not leaky_relu")
    if layout.layers[-1].activation not in PLUGIN_OUTPUT_ACTIVATIONS:
        obstacles.append(f"the output activation is {layout.layers[-1].activation}")
    if layout.diffuse_space != "linear":
        obstacles.append(f"diffuse is {layout.diffuse_space}, not linear")
    return obstacles


def export_material(source: ExportSource, folder: str | os.PathLike, reference: TextureSet | None = None) -> Export:
    """Write DDS files, npz and manifest into `folder`; the one place that measures what an export gives back.

    Everything is written aside in a sub-folder, read back from there with `NeuralTextureReader` and compared with
    `reference` (none: nothing is decoded or measured), and only then moved into place, the manifest last. Every stored
    mip is decoded once, and handed back for other figures and pictures. An older export in `folder` is replaced.
    Raises `UserError` where weights or features are not finite or files cannot be written, `ValueError` where the
    source does not fit its layout.
    """
    folder = Path(folder)
    network, offsets = _exported_network(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=".export."))
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    try:
        manifest, decoded = _manifest(source, offsets, reference), {}
        for g, grid in enumerate(manifest["grids"]):
            _write_grid(source, g, aside, grid["files"])
        write_bytes(aside / NETWORK_NAME, npz_bytes({"info": _info(source.layout), "network": network}))
        names = [name for grid in manifest["grids"] for name in grid["files"]] + [NETWORK_NAME]
        manifest["files"] = [_file_entry(aside / name) for name in names]
        manifest.update(_rates(manifest))
        write_json(aside / MANIFEST_NAME, manifest)
        if reference is not None:
            decoded = _decode(aside, reference)
            manifest.update(error_figures(dict(enumerate(reference.mips)), decoded, reference.present))
            write_json(aside / MANIFEST_NAME, manifest)
        _move_into_place(aside, folder, names)
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Export(manifest, decoded)


def _exported_network(source: ExportSource) -> tuple[np.ndarray, list[dict]]:
    """Return the weights as they are stored, the rows (and biases) of missing maps zero, and the layers' offsets."""
    network = np.array(source.network, np.float32).reshape(-1)
    if network.size != source.layout.n_weights:
        raise ValueError(f"the network has {network.size} weights, its layout {source.layout.n_weights}")
    last = source.layout.layers[-1]
    for texture in get_texture_config():
        if not source.present[texture.name]:
            start = last.offset + texture.first * last.cols
            network[start : start + texture.count * last.cols] = 0
            if last.bias_offset is not None:
                network[last.bias_offset + texture.first : last.bias_offset + texture.first + texture.count] = 0
    precision = source.layout.network_precision
    with np.errstate(over="ignore"):
        finite = np.isfinite(network.astype("float32" if precision == "float32" else "float16"))
    if not finite.all():
        raise UserError(
            f"the network holds weights that {precision} cannot store (training diverged?); "
            "train again with a lower --learning_rate"
        )
    return pack_network(network, source.layout)


def _write_grid(source: ExportSource, g: int, folder: Path, names: list[str]) -> None:
    """Write a grid's DDS files: its levels, finest first, are the mips; four features to a file."""
    grid = source.layout.grids[g]
    if len(source.grids[g]) != grid.n_levels:
        raise ValueError(f"grid {g} has {len(source.grids[g])} levels, its layout {grid.n_levels}")
    packed = []
    for level in range(grid.n_levels - 1, -1 if source.dds_mips else grid.n_levels - 2, -1):
        values, side = np.asarray(source.grids[g][level], np.float32), grid.resolution(level)
        if values.shape != (side, side, grid.n_features):
            raise ValueError(
                f"level {level} of grid {g} has shape {values.shape}, expected {(side, side, grid.n_features)}"
            )
        if not np.isfinite(values).all():
            raise UserError(
                f"grid {g} holds features that are not finite (training diverged?); "
                "train again with a lower learning rate for it"
            )
        codes = np.asarray(values_to_codes(values, grid.quantize_bits))
        packed.append(pack_codes(codes, grid.quantize_bits, source.storage))
    dxgi_format = container_format(grid.quantize_bits, source.storage)
    for name, levels in zip(names, zip(*packed)):
        write_dds(folder / name, levels, grid.max_resolution, grid.max_resolution, dxgi_format)


def _info(layout: ModelLayout) -> np.ndarray:
    """Return the npz's `info` array: counts and sizes in the order that the UE5 plugin reads."""
    values = [len(layout.grids)]
    for grid in layout.grids:
        values += [grid.base_resolution, grid.n_levels, grid.n_features, grid.quantize_bits, grid.save_bits]
    return np.array(
        values + [layout.n_frequencies, layout.n_neurons, layout.n_hidden_layers, layout.layers[-1].rows], np.int32
    )


def _plain_text(text: str) -> str:
    """Return text that UTF-8 can hold, also where it comes from a file name in another encoding."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _origin(reference: TextureSet | None) -> dict[str, object]:
    """Return a manifest's keys about the images: the material's name, the file of each map, what detection noticed."""
    if reference is None:
        return {}
    return {
        "name": _plain_text(reference.name),
        "sources": {name: _plain_text(file) for name, file in reference.files.items()},
        "notices": [_plain_text(notice) for notice in reference.notices],
    }


def _manifest(source: ExportSource, offsets: list[dict], reference: TextureSet | None) -> dict:
    """Return the manifest without what depends on the written files."""
    layout, grids = source.layout, []
    for g, grid in enumerate(layout.grids):
        steps = 1 << grid.quantize_bits
        files = [f"hash_grid_{g}.dds"] + [f"hash_grid_{g}_{j}.dds" for j in range(1, -(-grid.n_features // 4))]
        grids.append(
            {
                "files": files,
                "format": FORMATS[container_format(grid.quantize_bits, source.storage)].name,
                "max_resolution": grid.max_resolution,
                "base_resolution": grid.base_resolution,
                "n_levels": grid.n_levels,
                "n_features": grid.n_features,
                "quantize_bits": grid.quantize_bits,
                "save_bits": grid.save_bits,
                "interpolation": grid.interpolation,
                "scale": (steps - 1) / steps,
                "offset": -(steps - 1) / 2 / steps,
            }
        )
    obstacles = plugin_obstacles(source.layout, source.storage)
    return {
        "format": FORMAT,
        "version": MANIFEST_VERSION,
        "toolkit_version": VERSION,
        **_origin(reference),
        "width": layout.width,
        "height": layout.height,
        "mips": layout.mips,
        "wrap": layout.wrap,
        "normal_convention": source.normal_convention,
        "ue5_plugin": not obstacles,
        "ue5_plugin_obstacles": obstacles,
        "channels": [
            {
                "name": texture.name,
                "first": texture.first,
                "count": texture.count,
                "present": bool(source.present[texture.name]),
                "space": layout.diffuse_space if texture.name == "diffuse" else "data",
            }
            for texture in get_texture_config()
        ],
        "grids": grids,
        "dds_mips": source.dds_mips,
        "mip_levels": layout.mip_levels(),
        "positional_encoding": {
            "n_frequencies": layout.n_frequencies,
            "period_cells": layout.period_cells,
            "phases": layout.phases,
        },
        **({"position_order": layout.position_order} if layout.position_order else {}),
        "network": {
            "file": NETWORK_NAME,
            "array": "network",
            "inputs": layout.n_inputs,
            "outputs": N_CHANNELS,
            "precision": source.layout.network_precision,
            "macs_per_texel": layout.macs_per_texel,
            "layers": [
                {"rows": layer.rows, "cols": layer.cols, **offset, "activation": layer.activation}
                for layer, offset in zip(layout.layers, offsets)
            ],
        },
        "bytes_per_texel": bytes_fetched(layout, source.storage),
        "psnr": {},
    }


def _file_entry(path: Path) -> dict:
    data = path.read_bytes()
    return {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _rates(manifest: dict) -> dict[str, float]:
    """Return bits per texel: `bpp_mips` of all bytes on disk, `bpp` as if only the finest levels were stored."""
    texels = manifest["width"] * manifest["height"]
    sizes = {entry["name"]: entry["bytes"] for entry in manifest["files"]}
    finest = sizes[NETWORK_NAME]
    for grid in manifest["grids"]:
        texel_bytes = next(entry.texel_bytes for entry in FORMATS.values() if entry.name == grid["format"])
        finest += len(grid["files"]) * (HEADER_BYTES + grid["max_resolution"] ** 2 * texel_bytes)
    return {"bpp": 8 * finest / texels, "bpp_mips": 8 * sum(sizes.values()) / texels}


def _decode(folder: Path, reference: TextureSet) -> dict[int, np.ndarray]:
    """Decode every mip that the files in `folder` hold: uint8 `[H, W, 11]` by mip."""
    reader = NeuralTextureReader(folder)
    if (reference.width, reference.height) != (reader.manifest["width"], reader.manifest["height"]):
        raise ValueError(
            f"the reference is {reference.width} x {reference.height} texels, the model "
            f"{reader.manifest['width']} x {reader.manifest['height']}"
        )
    return {mip: reader.decode_uint8(mip) for mip in reader.stored_mips}


def _move_into_place(aside: Path, folder: Path, names: list[str]) -> None:
    """Move a finished export into its folder, the manifest last; grid files of an older export are removed."""
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for stale in folder.glob("hash_grid_*.dds"):
        if stale.name not in names:
            stale.unlink()
    for name in names + [MANIFEST_NAME]:
        os.replace(aside / name, folder / name)
