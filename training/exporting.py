"""Export of a trained material: DDS grids, network_data.npz and the manifest, measured by reading them back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, VERSION
from dataset import TextureSet, get_texture_config
from formats.export_folder import export_written_aside, file_entry, grid_files, network_file, stored_rates, write_grid
from formats.manifest import FORMAT, MANIFEST_NAME, manifest_version
from formats.names import file_prefix
from formats.npz import npz_bytes
from formats.plugin import plugin_obstacles as manifest_obstacles
from formats.reader import NeuralTextureReader
from model.decoder.stored_weights import Placement, pack_network
from model.layout import ModelLayout
from quantize import values_to_codes
from reporting.decoding import decode_and_measure
from reporting.quality import deep_figures, error_figures
from training.export_source import ExportSource
from training.loss import present_channels
from training.rates import bytes_fetched, layout_storage
from utils.errors import UserError
from utils.files import write_bytes, write_json


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
    return manifest_obstacles(_model_entries(layout, storage, None))


def export_material(
    source: ExportSource, folder: str | os.PathLike, reference: TextureSet | None = None, name: str | None = None
) -> Export:
    """Write DDS files, npz and manifest into `folder`; the one place that measures what an export gives back.

    Everything is written aside in a sub-folder, read back from there with `NeuralTextureReader` and compared with
    `reference` (none: nothing is decoded or measured), and only then moved into place, the manifest last. Every stored
    mip is decoded once, and handed back for other figures and pictures. An older export in `folder` is replaced. With a
    `name`, file names begin with its `file_prefix`.
    Raises `UserError` where weights or features are not finite or files cannot be written, `UsageError` where the name
    gives no file name, `ValueError` where the source does not fit its layout.
    """
    prefix = None if name is None else file_prefix(name)
    network, placement = _exported_network(source)
    with export_written_aside(Path(folder)) as aside:
        manifest = _manifest(source, placement, reference, prefix)
        decoded: dict[int, np.ndarray] = {}
        if name is not None and not manifest.get("name"):
            manifest["name"] = _plain_text(name)
        for g, grid in enumerate(manifest["grids"]):
            _write_grid(source, g, aside, grid["files"])
        npz = manifest["network"]["file"]
        write_bytes(aside / npz, npz_bytes({"info": _info(source.layout), "network": network}))
        names = [file for grid in manifest["grids"] for file in grid["files"]] + [npz]
        manifest["files"] = [file_entry(aside / file) for file in names]
        manifest.update(stored_rates(manifest))
        write_json(aside / MANIFEST_NAME, manifest)
        if reference is not None:
            decoded, deep_errors = _decode(aside, reference)
            mask = reference.mask_for(source.layout.wrap)
            manifest.update(error_figures(dict(enumerate(reference.mips)), decoded, reference.present, mask))
            manifest.update(deep_figures(deep_errors))
            write_json(aside / MANIFEST_NAME, manifest)
    return Export(manifest, decoded)


def _exported_network(source: ExportSource) -> tuple[np.ndarray, Placement]:
    """Return the weights as they are stored, the rows (and biases) of missing maps zero, and where the parts lie."""
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
    return pack_network(network, source.layout, present_channels(source.present))


def _write_grid(source: ExportSource, g: int, folder: Path, names: list[str]) -> None:
    """Write a grid's DDS files: its levels, finest first, are the mips."""
    grid = source.layout.grids[g]
    stored = layout_storage(grid, source.storage)
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
        bits = np.array(grid.bits, np.float32) if grid.mixed else grid.bits[0]
        codes = np.asarray(values_to_codes(values, bits))
        packed.append(stored.pack(codes))
    write_grid(folder, names, packed, stored)


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


def _origin(reference: TextureSet | None, of_training: list[str], wrap: bool) -> dict[str, object]:
    """Return a manifest's keys about the images: the material's name, the file of each map, the mask, and the notices.

    These are what detection noticed, what the mask leaves out, and those `of_training`.
    """
    if reference is None:
        return {"notices": of_training} if of_training else {}
    mask = reference.mask_for(wrap)
    of_mask = [f"mask: {mask.line}"] if mask else []
    return {
        **({"mask": {"file": mask.file and _plain_text(mask.file), "idle": mask.idle}} if mask else {}),
        "name": _plain_text(reference.name),
        "sources": {name: _plain_text(file) for name, file in reference.files.items()},
        "notices": [_plain_text(notice) for notice in [*reference.notices, *of_mask, *of_training]],
        "fingerprint": reference.fingerprint,
    }


def _model_entries(layout: ModelLayout, storage: str, prefix: str | None) -> dict:
    """Return the manifest's keys that a layout and its storage fix, the network's offsets as before rounding."""
    grids = []
    for g, grid in enumerate(layout.grids):
        stored = layout_storage(grid, storage)
        grids.append(
            {
                "files": grid_files(g, stored.n_files, prefix),
                "format": stored.format.name,
                "max_resolution": grid.max_resolution,
                "base_resolution": grid.base_resolution,
                "n_levels": grid.n_levels,
                "save_bits": grid.save_bits,
                "interpolation": grid.interpolation,
                **stored.entry(),
            }
        )
    return {
        "channels": [
            {
                "name": texture.name,
                "first": texture.first,
                "count": texture.count,
                "space": layout.diffuse_space if texture.name == "diffuse" else "data",
            }
            for texture in get_texture_config()
        ],
        "grids": grids,
        "mip_levels": layout.mip_levels(),
        "positional_encoding": {
            "n_frequencies": layout.n_frequencies,
            "period_cells": layout.period_cells,
            "phases": layout.phases,
        },
        **({"position_order": layout.position_order} if layout.position_order else {}),
        "network": {
            "file": network_file(prefix),
            "array": "network",
            "inputs": layout.n_inputs,
            "outputs": N_CHANNELS,
            "precision": layout.network_precision,
            "macs_per_texel": layout.macs_per_texel,
            "macs_as_run": layout.macs_as_run,
            "layers": [
                {
                    "rows": layer.rows,
                    "cols": layer.cols,
                    "offset": layer.offset,
                    "bias_offset": layer.bias_offset,
                    "activation": layer.activation,
                }
                for layer in layout.layers
            ],
        },
    }


def _manifest(source: ExportSource, placement: Placement, reference: TextureSet | None, prefix: str | None) -> dict:
    """Return the manifest without what depends on the written files."""
    layout, model = source.layout, _model_entries(source.layout, source.storage, prefix)
    obstacles = manifest_obstacles(model)
    for channel in model["channels"]:
        channel["present"] = bool(source.present[channel["name"]])
        channel.update(source.map_facts.get(channel["name"], {}))
    for layer, offset in zip(model["network"]["layers"], placement.layers, strict=True):
        layer.update(offset)
    if layout.linear and placement.linear:
        model["network"]["linear"] = {
            "outputs": present_channels(source.present),
            "order": layout.linear.order,
            "cols": layout.linear.cols,
            **placement.linear,
        }
    for grid, start in zip(model["grids"], placement.curves):
        grid["curve_offset"] = start
    return {
        "format": FORMAT,
        "version": manifest_version(model),
        "toolkit_version": VERSION,
        **_origin(reference, source.notices, layout.wrap),
        "width": layout.width,
        "height": layout.height,
        "mips": layout.mips,
        "wrap": layout.wrap,
        "normal_convention": source.normal_convention,
        "ue5_plugin": not obstacles,
        "ue5_plugin_obstacles": obstacles,
        "dds_mips": source.dds_mips,
        **model,
        "bytes_per_texel": bytes_fetched(layout, source.storage),
        "psnr": {},
    }


def _decode(folder: Path, reference: TextureSet) -> tuple[dict[int, np.ndarray], dict[str, list[float]]]:
    """Decode every mip that the files in `folder` hold: uint8 `[H, W, 11]` by mip.

    Beside it, for each map deeper than 8 bits, every mip's mean squared error in 16-bit steps squared.
    """
    reader = NeuralTextureReader(folder)
    if (reference.width, reference.height) != (reader.manifest["width"], reader.manifest["height"]):
        raise ValueError(
            f"the reference is {reference.width} x {reference.height} texels, the model "
            f"{reader.manifest['width']} x {reader.manifest['height']}"
        )
    return decode_and_measure(reader, reference)
