"""Export of a trained material: DDS grids, network_data.npz and the manifest, measured by reading them back."""

from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, config_from_dict
from dataset import TextureSet, get_texture_config, load_texture_set
from formats.codes import container_format, pack_codes
from formats.dds import FORMATS, HEADER_BYTES, write_dds
from formats.manifest import FORMAT, MANIFEST_NAME, VERSION
from formats.reader import NeuralTextureReader
from model.decoder.stored_weights import pack_network
from model.layout import ModelLayout, model_layout
from quantize import values_to_codes
from reporting.metrics import material_psnr, normal_angle
from training.checkpoint import find_checkpoint, load_checkpoint
from training.resume import other_images_note
from utils.errors import UserError, describe_os_error
from utils.files import write_bytes, write_json

NETWORK_NAME = "network_data.npz"
PLUGIN_OUTPUT_ACTIVATIONS = ("none", "leaky_relu", "hard_swish", "hard_gelu")
"""Output activations that the UE5 plugin can be told to use."""


@dataclass
class ExportSource:
    """What an export is made from."""

    layout: ModelLayout
    grids: list[list[np.ndarray]]
    """Per grid, its levels coarsest first: float32 `[r, r, F]` features, not yet rounded."""
    network: np.ndarray
    """float32, flat: the weights of all layers, then the biases if any."""
    present: dict[str, bool]
    """Whether each map type is present."""
    normal_convention: str
    """opengl or directx."""
    storage: str = "rgba8"
    """rgba8 or true_rate."""
    dds_mips: bool = True
    """All levels in the DDS files; False: the finest alone."""


def plugin_obstacles(source: ExportSource) -> list[str]:
    """Return what keeps the UE5 plugin from reading this export, in words; empty where nothing does."""
    layout, obstacles = source.layout, []
    for g, grid in enumerate(layout.grids):
        dxgi_format = container_format(grid.quantize_bits, source.storage)
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
    if source.layout.network_precision != "float32":
        obstacles.append(f"the weights are {source.layout.network_precision}")
    if any(layer.activation != "leaky_relu" for layer in layout.layers[:-1]):
        obstacles.append(f"the hidden activation is {layout.layers[0].activation}, not leaky_relu")
    if layout.layers[-1].activation not in PLUGIN_OUTPUT_ACTIVATIONS:
        obstacles.append(f"the output activation is {layout.layers[-1].activation}")
    if layout.diffuse_space != "linear":
        obstacles.append(f"diffuse is {layout.diffuse_space}, not linear")
    return obstacles


def export_material(source: ExportSource, folder: str | os.PathLike, reference: TextureSet | None = None) -> dict:
    """Write DDS files, npz and manifest into `folder` and return the manifest.

    Everything is written aside in a sub-folder, read back from there with `NeuralTextureReader` to measure PSNR
    against `reference` (none: no PSNR), and only then moved into place, the manifest last. An older export in
    `folder` is replaced. Raises `UserError` where weights or features are not finite or files cannot be written,
    `ValueError` where the source does not fit its layout.
    """
    folder = Path(folder)
    network, places = _exported_network(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=".export."))
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    try:
        manifest = _manifest(source, places)
        for g, grid in enumerate(manifest["grids"]):
            _write_grid(source, g, aside, grid["files"])
        write_bytes(aside / NETWORK_NAME, _npz({"info": _info(source.layout), "network": network}))
        names = [name for grid in manifest["grids"] for name in grid["files"]] + [NETWORK_NAME]
        manifest["files"] = [_file_entry(aside / name) for name in names]
        manifest.update(_rates(manifest))
        write_json(aside / MANIFEST_NAME, manifest)
        manifest.update(_quality(aside, reference))
        write_json(aside / MANIFEST_NAME, manifest)
        _move_into_place(aside, folder, names)
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _exported_network(source: ExportSource) -> tuple[np.ndarray, list[dict]]:
    """Return the flat weights as they are stored, the rows (and biases) of missing maps zero, and the layers' places."""
    network = np.array(source.network, np.float32).reshape(-1)
    if network.size != source.layout.n_weights:
        raise ValueError(f"the network has {network.size} weights, its layout {source.layout.n_weights}")
    last = source.layout.layers[-1]
    for kind in get_texture_config():
        if not source.present[kind.name]:
            start = last.offset + kind.first * last.cols
            network[start:start + kind.count * last.cols] = 0
            if last.bias_offset is not None:
                network[last.bias_offset + kind.first:last.bias_offset + kind.first + kind.count] = 0
    precision = source.layout.network_precision
    with np.errstate(over="ignore"):
        finite = np.isfinite(network.astype("float32" if precision == "float32" else "float16"))
    if not finite.all():
        raise UserError(f"the network holds weights that {precision} cannot store (training diverged?); "
                        "train again with a lower --learning_rate")
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
            raise ValueError(f"level {level} of grid {g} has shape {values.shape}, "
                             f"expected {(side, side, grid.n_features)}")
        if not np.isfinite(values).all():
            raise UserError(f"grid {g} holds features that are not finite (training diverged?); "
                            "train again with a lower learning rate for it")
        packed.append(pack_codes(values_to_codes(values, grid.quantize_bits), grid.quantize_bits, source.storage))
    dxgi_format = container_format(grid.quantize_bits, source.storage)
    for name, levels in zip(names, zip(*packed)):
        write_dds(folder / name, levels, grid.max_resolution, grid.max_resolution, dxgi_format)


def _info(layout: ModelLayout) -> np.ndarray:
    """Return the npz's `info` array: counts and sizes in the order that the UE5 plugin reads."""
    values = [len(layout.grids)]
    for grid in layout.grids:
        values += [grid.base_resolution, grid.n_levels, grid.n_features, grid.quantize_bits, grid.save_bits]
    return np.array(values + [layout.n_frequencies, layout.n_neurons, layout.n_hidden_layers, layout.layers[-1].rows],
                    np.int32)


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an uncompressed npz that depends on the arrays alone, not on the clock or the operating system."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def _manifest(source: ExportSource, places: list[dict]) -> dict:
    """Return the manifest without what depends on the written files."""
    layout, grids = source.layout, []
    for g, grid in enumerate(layout.grids):
        steps = 1 << grid.quantize_bits
        files = [f"hash_grid_{g}.dds"] + [f"hash_grid_{g}_{j}.dds" for j in range(1, -(-grid.n_features // 4))]
        grids.append({
            "files": files, "format": FORMATS[container_format(grid.quantize_bits, source.storage)].name,
            "max_resolution": grid.max_resolution, "base_resolution": grid.base_resolution, "n_levels": grid.n_levels,
            "n_features": grid.n_features, "quantize_bits": grid.quantize_bits, "save_bits": grid.save_bits,
            "interpolation": grid.interpolation, "scale": (steps - 1) / steps, "offset": -(steps - 1) / 2 / steps})
    obstacles = plugin_obstacles(source)
    return {
        "format": FORMAT, "version": VERSION, "width": layout.width, "height": layout.height, "mips": layout.mips,
        "wrap": layout.wrap, "normal_convention": source.normal_convention, "ue5_plugin": not obstacles,
        "ue5_plugin_obstacles": obstacles,
        "channels": [{"name": kind.name, "first": kind.first, "count": kind.count,
                      "present": bool(source.present[kind.name]),
                      "space": layout.diffuse_space if kind.name == "diffuse" else "data"}
                     for kind in get_texture_config()],
        "grids": grids, "dds_mips": source.dds_mips, "mip_levels": layout.mip_levels(),
        "positional_encoding": {"n_frequencies": layout.n_frequencies, "period_cells": layout.period_cells,
                                "phases": layout.phases},
        **({"position_order": layout.position_order} if layout.position_order else {}),
        "network": {"file": NETWORK_NAME, "array": "network", "inputs": layout.n_inputs, "outputs": N_CHANNELS,
                    "precision": source.layout.network_precision, "macs_per_texel": layout.macs_per_texel,
                    "layers": [{"rows": layer.rows, "cols": layer.cols, **place, "activation": layer.activation}
                               for layer, place in zip(layout.layers, places)]},
        "bytes_per_texel": layout.bytes_per_texel}


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


def _quality(folder: Path, reference: TextureSet | None) -> dict:
    """Return PSNR (dB, by map) and the normals' mean angular error (degrees) per mip, of the files in `folder`.

    One entry per mip: null where the decoded map is identical, or where the files lack the level that the mip reads.
    """
    if reference is None:
        return {"psnr": {}}
    reader = NeuralTextureReader(folder)
    mips, stored = reader.manifest["mips"], reader.stored_mips
    if (reference.width, reference.height) != (reader.manifest["width"], reader.manifest["height"]):
        raise ValueError(f"the reference is {reference.width} x {reference.height} texels, the model "
                         f"{reader.manifest['width']} x {reader.manifest['height']}")
    names = ["overall"] + [name for name, present in reader.present.items() if present]
    psnr: dict[str, list[float | None]] = {name: [None] * mips for name in names}
    angles: list[float | None] = [None] * mips
    normals = next(kind.channels for kind in get_texture_config() if kind.name == "normal")
    for mip in stored:
        decoded = reader.decode_uint8(mip)
        for name, value in material_psnr(reference.mips[mip], decoded, reader.present).items():
            psnr[name][mip] = value if math.isfinite(value) else None
        if reader.present["normal"]:
            angles[mip] = normal_angle(reference.mips[mip][..., normals], decoded[..., normals])
    return {"psnr": psnr, **({"normal_angle_deg": angles} if reader.present["normal"] else {})}


def _move_into_place(aside: Path, folder: Path, names: list[str]) -> None:
    """Move a finished export into its folder, the manifest last; grid files of an older export are removed."""
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for stale in folder.glob("hash_grid_*.dds"):
        if stale.name not in names:
            stale.unlink()
    for name in names + [MANIFEST_NAME]:
        os.replace(aside / name, folder / name)


def source_from_checkpoint(run_dir: str | os.PathLike, load_iter: int) -> tuple[ExportSource, TextureSet | None]:
    """Load a run's checkpoint (-1: the newest) and, where its images can still be read, the texture set.

    Raises `UserError` where there is no such checkpoint.
    """
    checkpoint = load_checkpoint(find_checkpoint(run_dir, load_iter))
    config = config_from_dict(checkpoint.config)
    layout = model_layout(config.model, checkpoint.width, checkpoint.height)
    source = ExportSource(layout, [[level.cpu().numpy() for level in grid] for grid in checkpoint.grids],
                          checkpoint.network.cpu().numpy(), checkpoint.present, checkpoint.normal_convention,
                          config.export.storage, config.export.dds_mips)
    try:
        reference = load_texture_set(config.run.data_dir)
        if (reference.width, reference.height) != (source.layout.width, source.layout.height) \
                or reference.present != checkpoint.present:
            raise UserError(f"{config.run.data_dir} is not the material that was trained")
        note = other_images_note(checkpoint, reference, find_checkpoint(run_dir, load_iter))
        if note:
            print(f"note: {note}", file=sys.stderr)
    except UserError as error:
        print(f"PSNR is not measured: {error}", file=sys.stderr)
        reference = None
    return source, reference
