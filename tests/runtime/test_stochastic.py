"""NeuralTexture_SampleStochastic averages to the filtered value: thousands of draws of the compiled C++ against weights
of texels worked out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cpp_program import build, decode
from benchmarks.runtime_device import POINT
from runtime.shaders import generate
from tests.runtime.devices import require_compiler
from tests.runtime.exports import STOCHASTIC, in_linear_light

DRAWS = 8192
SIGMAS = 5
"""Standard errors of a mean that it may lie away from what is expected."""
PLACES = ((0.37, 0.61), (0.004, 0.993), (0.81, 0.27))
FOOTPRINTS = {
    # Texels of the finest mip from pixel to pixel, along x and along y of the screen.
    "magnified": ((0.2, 0.05), (-0.05, 0.2)),
    "one to one": ((1, 0), (0, 1)),
    "between two mips": ((2**1.3, 0), (0, 2**1.3)),
    "between two mips, turned": ((0, 2**2.75), (-(2**2.75), 0)),
    "anisotropic, 5 to 1.5": ((1.5, 0), (0, 5)),
    "anisotropic, 9 to 3": ((6, 6.7), (-2.2, 2)),
    "more anisotropic than 16": ((24, 0), (0, 0.3)),
    "beyond the coarsest mip": ((500, 0), (0, 500)),
}


def bilinear(mip: np.ndarray, u: np.ndarray, v: np.ndarray, wrap: bool) -> np.ndarray:
    """Blend the four texels about points of a mip `[H, W, 11]`."""
    size = np.array([mip.shape[1], mip.shape[0]])
    place = np.stack([u, v], -1) * size - 0.5
    first = np.floor(place).astype(int)
    part = place - first
    result = 0
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        texel = first + (dx, dy)
        x, y = (texel % size if wrap else np.clip(texel, 0, size - 1)).T
        share = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
        result = result + share[:, None] * mip[y, x]
    return result


def filtered(
    mips: list[np.ndarray], place: tuple[float, float], footprint: np.ndarray, wrap: bool, steps: int = 4001
) -> np.ndarray:
    """Return what a trilinear, anisotropic filter gives: the mean along the footprint's longer axis, `[11]`."""
    size = np.array([mips[0].shape[1], mips[0].shape[0]])
    lengths = np.linalg.norm(footprint, axis=1)
    longest = lengths.max()
    shortest = max(lengths.min(), longest / 16)
    lod = np.clip(np.log2(shortest), 0, len(mips) - 1)
    along = ((np.arange(steps) + 0.5) / steps - 0.5) * (1 - shortest / longest)
    u, v = (np.array(place) + along[:, None] * footprint[lengths.argmax()] / size).T
    fine = int(lod)
    coarse = min(fine + 1, len(mips) - 1)
    blended = [bilinear(mips[mip], u, v, wrap).mean(0) for mip in (fine, coarse)]
    return blended[0] + (lod - fine) * (blended[1] - blended[0])


@pytest.mark.parametrize("name", ["missing maps", "clamped", "odd size"])
def test_stochastic_samples_average_to_the_filtered_value(exports, tmp_path, name):
    require_compiler()
    reader = exports(name)
    shader = generate(reader, "cpp")
    source = tmp_path / "decoder.cpp"
    source.write_bytes(shader.code)
    library = build(source)
    mips = [in_linear_light(reader.decode(mip), reader) for mip in reader.stored_mips]
    wrap = reader.manifest["wrap"]
    rng, size = np.random.default_rng(11), np.array([reader.manifest["width"], reader.manifest["height"]])
    told_apart = 0
    for label, texels in FOOTPRINTS.items():
        footprint = np.array(texels, np.float64)
        for place in PLACES:
            points = np.zeros(DRAWS, POINT)
            points["position"] = (*place, 0, STOCHASTIC)
            points["footprint"] = (footprint / size).reshape(-1)
            points["noise"] = rng.random((DRAWS, 4))
            drawn = decode(library, shader, reader, points).astype(np.float64)
            allowed = SIGMAS * drawn.std(0) / np.sqrt(DRAWS) + 1e-4
            wanted = filtered(mips, place, footprint, wrap)
            assert (np.abs(drawn.mean(0) - wanted) <= allowed).all(), (label, place, drawn.mean(0), wanted, allowed)
            # So near that the same without the filter's blending of mips, or of texels, would not pass.
            nearest = mips[min(int(np.log2(max(np.linalg.norm(footprint, axis=1).min(), 1)) + 0.5), len(mips) - 1)]
            y, x = (int(t * n) for t, n in zip(place[::-1], nearest.shape))
            told_apart += (np.abs(nearest[y, x] - wanted) > 2 * allowed).any()
    assert told_apart > 0.8 * (len(FOOTPRINTS) - 1) * len(PLACES)
