"""What engines put around a package's HLSL, so that it can be compiled and run without them, and what must come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.random_version_2 import RandomGrid, write_version_2
from formats.reader import NeuralTextureReader
from runtime.engines.hlsl_material import EngineTexture
from runtime.slang import compile_slang
from tests.formats.reference_decoder import ALL, make_source
from tests.runtime.engines.gpu import GROUP, run_points
from training.exporting import export_material

WIDTH = 16
"""Numbers that a harness writes for a point."""
_MAIN = """
[[vk::binding(0)]] StructuredBuffer<float4> points;
[[vk::binding(1)]] RWStructuredBuffer<float> results;
[[vk::binding(2)]] SamplerState nearest;
{textures}
[numthreads({group}, 1, 1)]
void main(uint3 thread : SV_DispatchThreadID)
{{
    // u, v, how far uv moves from pixel to pixel, and whether to sample trilinearly.
    float4 p = points[thread.x];
    uint at = {width} * thread.x;
{body}
}}
"""


def material(folder: Path, large: bool, wrap: bool = True, width: int = 32, height: int = 16) -> NeuralTextureReader:
    """Export a random material; a `large` one has mixed bits, curves and a linear decoder, folds, and has more weights than
    fit into code."""
    if large:
        grids = [RandomGrid(16, 3, (8, 6, 5, 4, 3, 2, 1)), RandomGrid(8, 2, (8, 5, 3), gathered=False)]
        present = {**ALL, "specular": False}
        write_version_2(
            folder,
            width,
            height,
            grids,
            position_order=1,
            n_neurons=16,
            n_hidden_layers=2,
            present=present,
            wrap=wrap,
            diffuse_space="srgb",
        )
    else:
        export_material(make_source(width, height, wrap=wrap), folder)
    return NeuralTextureReader(folder)


def main_of(textures: list[EngineTexture], body: str) -> str:
    """Return a compute entry that runs `body` for each point; textures are T0, T1, ..."""
    declared = "\n".join(f"[[vk::binding({3 + i})]] Texture2D T{i};" for i in range(len(textures)))
    return _MAIN.format(textures=declared, body=body, group=GROUP, width=WIDTH)


def random_points(reader: NeuralTextureReader, count: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Return points of trilinear sampling, beyond the borders too, and their lods."""
    rng = np.random.default_rng(1)
    points = np.ones((count, 4), np.float32)
    points[:, :2] = rng.uniform(-1.5, 2.5, (count, 2))
    points[: count // 8, :2] = rng.choice([0, 1, 0.5, 1 - 2.0**-20], (count // 8, 2))
    lods = rng.uniform(-0.5, reader.manifest["mips"], count)
    points[:, 2] = 2.0**lods / max(reader.mip_size(0))
    return points, lods


def texel_points(reader: NeuralTextureReader) -> np.ndarray:
    """Return the centres of all texels of the finest mip, to be sampled stochastically with a vanishing footprint."""
    width, height = reader.mip_size(0)
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width])
    return np.stack([(x + 0.5) / width, (y + 0.5) / height, 0 * x, 0 * x], axis=1).astype(np.float32)


def normals(values: np.ndarray, green: float) -> np.ndarray:
    """Return unit normals `[N, 3]` of decoded maps, green times `green`."""
    vectors = (2 * values[:, 3:6] - 1) * np.array([1, green, 1])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def run(source: str, points: np.ndarray, textures: list[EngineTexture]) -> np.ndarray:
    """Run a harness on the GPU: float32 `[N, WIDTH]`.

    As WGSL: SPIR-V of so much code takes the software device's compiler minutes.
    """
    code = compile_slang({"harness.hlsl": source}, "wgsl", "main", {}).decode()
    return run_points(code, points, WIDTH, [[texture.texels] for texture in textures])
