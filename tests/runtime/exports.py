"""Exports that the generated decoders are tried on, points to decode, and what the NumPy reader makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.random_exports import ALL, grid, make_source, preset
from benchmarks.random_version_2 import RandomGrid, write_version_2
from benchmarks.runtime_device import POINT
from configs import ACTIVATION_NAMES, PRESETS
from formats.reader import NeuralTextureReader
from images.mips import mip_size
from runtime.specialise import Options
from tests.formats.export_changes import replace_grid
from tests.runtime.materials import without
from training.exporting import export_material

FLOAT_ERROR = 1e-3
"""Largest error in float32."""
STEP = 1 / 255
"""The same in half precision: a step of 8 bits."""
SAMPLER_ERROR = 0.02
"""The same by the texture unit: Mesa's software sampler weighs RGBA8 taps with 8 bits; GPUs do with 8 or more."""
EXACT = Options(bake=False, decode=True, filter=False)
SAMPLE, TRILINEAR, LOAD, STOCHASTIC = range(4)
"""Functions that a point of NeuralTexture_Decode names."""


def small(storage: str = "packed", width: int = 64, height: int = 32, seed: int = 1, **model):
    """A random model with a gathered grid of 4 bits and a bilinear one of 8."""
    grids = [grid(16, 3, quantize_bits=4, save_bits=32, interpolation="gather"), grid(8, 2)]
    present = model.pop("present", ALL)
    return make_source(
        width,
        height,
        present,
        seed,
        storage,
        **{"hash_grid_configs": grids, "use_bias": True, "n_neurons": 16, **model},
    )


def _mixed(folder: Path) -> None:
    """Features that differ in bits within a grid, with random codes."""
    export_material(small(), folder)
    replace_grid(folder, 0, (5, 3, 8, 1, 2, 7, 6, 4), "packed")
    replace_grid(folder, 1, (8, 6, 16, 3), "packed")


MANY = tuple(map(int, np.repeat((8, 6, 5, 4, 3, 2, 1), (4, 6, 8, 10, 14, 16, 12))))
"""Bits of 70 features, as water-filling gives them: 231 bits, eight words of two textures."""


def _version_2(folder: Path) -> None:
    """What new materials have: one gathered grid of cells of 4 texels, curves, and a linear decoder of order 3."""
    write_version_2(folder, 64, 32, [RandomGrid(16, 3, (8, 7, 6, 5, 5, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1))])


VERSION_2: dict[str, Callable[[Path], None]] = {
    "linear order 3": _version_2,
    "70 features": lambda folder: write_version_2(
        folder, 64, 64, [RandomGrid(16, 3, MANY)], position_order=1, precision="float16"
    ),
    "cells of 4 and 8": lambda folder: write_version_2(
        folder,
        64,
        64,
        [RandomGrid(16, 3, (6, 4, 4, 3, 2)), RandomGrid(8, 2, (8, 5, 3), curves=False)],
        position_order=1,
        n_neurons=64,
    ),
    "blended beside gathered": lambda folder: write_version_2(
        folder,
        48,
        32,
        [RandomGrid(8, 2, (8, 8, 8, 8), gathered=False), RandomGrid(16, 3, (6, 4, 2, 2))],
        wrap=False,
        diffuse_space="srgb",
        precision="float32",
        present=without("normal", "metallic"),
    ),
    "linear, odd size": lambda folder: write_version_2(
        folder, 67, 61, [RandomGrid(16, 3, (5, 3, 8, 1)), RandomGrid(8, 2, (4, 4), False)], present=without("diffuse")
    ),
    "linear, no hidden layer": lambda folder: write_version_2(
        folder, 32, 16, n_hidden_layers=0, n_frequencies=3, period_cells=0, phases=1, linear_order=1
    ),
    "linear, period 2": lambda folder: write_version_2(
        folder, 64, 32, [RandomGrid(16, 3, (4, 4, 3))], period_cells=2, linear_order=0, position_order=2, n_neurons=20
    ),
    "curves alone": lambda folder: write_version_2(
        folder,
        64,
        64,
        [RandomGrid(16, 3, (8, 8, 8, 8), gathered=False), RandomGrid(8, 2, (8,) * 6)],
        linear_order=None,
        storage="rgba8",
    ),
}
"""The same of the manifest's version 2: feature curves, and a linear decoder beside the network."""
ON_SOFTWARE_GPUS = ("linear order 3", "cells of 4 and 8", "blended beside gathered", "linear, odd size", "curves alone")
"""Those of version 2 whose pipelines a software GPU makes within seconds; compiled C++ runs all."""


def _written(source) -> Callable[[Path], None]:
    return lambda folder: export_material(source(), folder)


EXPORTS: dict[str, Callable[[Path], None]] = {
    # The preset fast is the model of quality.
    **{f"preset {name}": _written(lambda name=name: preset(name)) for name in PRESETS if name != "fast"},
    # Other containers of the grids of quality; the full network goes with the preset's own packed words.
    "quality packed_rgba8": _written(lambda: preset("quality", "packed_rgba8", 64, 128, n_neurons=16)),
    "mobile rgba8": _written(lambda: preset("mobile", "rgba8", 96, 64)),
    "mobile packed": _written(lambda: preset("mobile", "packed")),
    "mixed bits": _mixed,
    "clamped": _written(lambda: small(wrap=False, n_frequencies=3, diffuse_space="srgb")),
    "clamped, filtered": _written(lambda: preset("ue5", "rgba8", 64, 64, wrap=False)),
    "odd size": _written(lambda: small(width=45, height=77, n_frequencies=2, period_cells=1, phases=2)),
    "1 x 1": _written(lambda: small(width=1, height=1)),
    "missing maps": _written(lambda: small(present=without("normal", "occlusion", "displacement"))),
    "linear layer": _written(lambda: small(n_hidden_layers=0)),
    "order 2": _written(lambda: small(position_order=2, network_precision="float16")),
    "order 1, int8": _written(lambda: small(position_order=1, network_precision="int8", n_neurons=20)),
    # Sizes whose texels have too many places in a cell: nothing is folded.
    "order 1, not folded": _written(lambda: small(width=67, height=61, position_order=1)),
    "16 bits": _written(
        lambda: make_source(
            32, 32, storage="true_rate", hash_grid_configs=[grid(16, 3, quantize_bits=16, save_bits=64), grid(8, 2)]
        )
    ),
    "2 bits": _written(
        lambda: small("packed", hash_grid_configs=[grid(16, 3, quantize_bits=2, save_bits=32, interpolation="gather")])
    ),
    "finest level alone": _written(lambda: small(dds_mips=False)),
    **{
        f"activations {first}, {second}": _written(
            lambda first=first, second=second: small(activation=first, output_activation=second, width=32)
        )
        for first, second in zip(ACTIVATION_NAMES[::2], (*ACTIVATION_NAMES[1::2], "none"))
    },
    **VERSION_2,
}
"""Name to a function that writes the export into a folder."""


def draw_points(reader: NeuralTextureReader, count: int = 1024, seed: int = 0) -> np.ndarray:
    """Return `count` random points of each function, and points on and beyond the borders: `POINT` `[N]`.

    The points of a function follow each other. Those that read mips which are not stored are left out.
    """
    manifest, rng = reader.manifest, np.random.default_rng(seed)
    mips, texels = len(reader.stored_mips), (manifest["width"], manifest["height"])
    sets = []
    borders = np.array([0, 1, -1, 2, 0.5, -0.25, 1.75, 1 - 2**-12, 2**-12, -7, 9], np.float32)
    border_u, border_v = (axis.reshape(-1) for axis in np.meshgrid(borders, borders))
    for function in (SAMPLE, TRILINEAR):
        part = np.zeros(count + len(border_u), POINT)
        # Most points lie in the texture, some up to two turns outside.
        part["position"][:count, :2] = rng.uniform(0, 1, (count, 2)) + rng.integers(-2, 3, (count, 1)) * (
            rng.random((count, 1)) < 0.3
        )
        part["position"][count:, 0], part["position"][count:, 1] = border_u, border_v
        part["position"][:, 2] = rng.uniform(-0.9, mips - 0.1, len(part))
        part["position"][: count // 8, 2] = rng.integers(0, mips, count // 8)
        part["position"][:, 3] = function
        sets.append(part)
    part = np.zeros(count, POINT)
    mip = rng.integers(0, mips, count)
    sizes = np.array([mip_size(*texels, m) for m in range(mips)])[mip]
    part["position"][:, :2] = rng.integers(-1, 2, (count, 2)) * sizes + rng.integers(0, sizes)
    part["position"][:, 2], part["position"][:, 3] = mip, LOAD
    sets.append(part)
    part = np.zeros(count, POINT)
    part["position"][:, :2] = rng.uniform(-0.5, 1.5, (count, 2))
    part["position"][:, 3] = STOCHASTIC
    angle, length = rng.uniform(0, 2 * np.pi, (2, count)), 2 ** rng.uniform(-2, mips, (2, count)) / max(texels)
    part["footprint"] = np.stack([length[i // 2] * (np.cos, np.sin)[i % 2](angle[i // 2]) for i in range(4)], -1)
    part["noise"] = rng.random((count, 4))
    sets.append(part)
    return np.concatenate(sets)


def _limited(values: np.ndarray, size: np.ndarray, wrap: bool) -> np.ndarray:
    return values % size if wrap else np.clip(values, 0, size - 1)


def stochastic_texels(reader: NeuralTextureReader, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mip and texel of stochastic samples, in double precision, and whether rounding could choose another."""
    manifest, mips = reader.manifest, len(reader.stored_mips)
    size = np.array([manifest["width"], manifest["height"]], np.float64)
    noise = points["noise"].astype(np.float64)
    ddx, ddy = (points["footprint"][:, part].astype(np.float64) for part in (slice(0, 2), slice(2, 4)))
    long_x, long_y = (np.linalg.norm(change * size, axis=1) for change in (ddx, ddy))
    longest = np.maximum(long_x, long_y)
    shortest = np.maximum(np.minimum(long_x, long_y), longest / 16)
    level = np.log2(shortest) + noise[:, 2]
    mip = np.clip(np.floor(level), 0, mips - 1).astype(int)
    axis = np.where((long_x >= long_y)[:, None], ddx, ddy)
    at = points["position"][:, :2] + axis * ((noise[:, 3] - 0.5) * (1 - np.minimum(shortest / longest, 1)))[:, None]
    sizes = np.array([mip_size(manifest["width"], manifest["height"], m) for m in range(mips)])[mip]
    place = at * sizes - 0.5 + noise[:, :2]
    doubtful = (np.abs(np.stack([level, *place.T]) - np.rint(np.stack([level, *place.T]))) < 1e-3).any(0)
    return mip, _limited(np.floor(place).astype(int), sizes, manifest["wrap"]), doubtful


def expected(reader: NeuralTextureReader, points: np.ndarray) -> np.ndarray:
    """Return what the reader decodes at points, diffuse in linear light: float32 `[N, 11]`; NaN where a stochastic
    sample's rounding could choose another texel."""
    manifest, mips = reader.manifest, len(reader.stored_mips)
    result = np.full((len(points), 11), np.nan, np.float32)
    u, v, lod, function = points["position"].T
    own = function == SAMPLE
    result[own] = reader.sample(u[own], v[own], np.clip(np.floor(lod[own] + np.float32(0.5)), 0, mips - 1))
    own = function == TRILINEAR
    result[own] = reader.sample(u[own], v[own], np.clip(lod[own], 0, mips - 1))
    decoded = [reader.decode(mip) for mip in range(mips)]
    loads, drawn = np.flatnonzero(function == LOAD), np.flatnonzero(function == STOCHASTIC)
    for index in loads:
        mip = int(lod[index])
        height, width = decoded[mip].shape[:2]
        x, y = _limited(np.array([u[index], v[index]], int), np.array([width, height]), manifest["wrap"])
        result[index] = decoded[mip][y, x]
    mip, texels, doubtful = stochastic_texels(reader, points[drawn])
    for index, m, (x, y), skip in zip(drawn, mip, texels, doubtful):
        if not skip:
            result[index] = decoded[m][y, x]
    return in_linear_light(result, reader).astype(np.float32)


def in_linear_light(values: np.ndarray, reader: NeuralTextureReader) -> np.ndarray:
    """Return decoded maps `[..., 11]` in double precision with diffuse in linear light (IEC 61966-2-1)."""
    values = values.astype(np.float64)
    if reader.manifest["channels"][0]["space"] == "srgb":
        coded = values[..., :3]
        values[..., :3] = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return values


def largest_error(decoded: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference; infinite where what was decoded is not a number."""
    assert decoded.shape == wanted.shape
    known = ~np.isnan(wanted).any(1)
    assert known.mean() > 0.9
    difference = np.abs(decoded[known].astype(np.float64) - wanted[known])
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def baked_steps(reader, mip: int, baked: dict[str, np.ndarray]) -> int:
    """Largest difference of baked textures from the reader's mip, 8-bit steps."""
    got = np.concatenate(
        [
            baked["baked_diffuse"][..., :3],
            baked["baked_normal"][..., :3],
            baked["baked_surface"][..., [1, 0, 2]],
            baked["baked_normal"][..., 3:],
            baked["baked_diffuse"][..., 3:],
        ],
        -1,
    ).astype(int)
    assert (baked["baked_surface"][..., 3] == 255).all()
    return int(np.abs(got - reader.decode_uint8(mip)).max())


def assert_baked(reader, mip: int, baked: dict[str, np.ndarray]) -> None:
    """Baked textures are the reader's mip within one 8-bit step."""
    assert baked_steps(reader, mip, baked) <= 1
