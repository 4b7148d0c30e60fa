"""The images beside the decoder are those that the other commands measure."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from baselines.codecs import CODECS
from formats.bc7 import bc7_bytes
from images.mips import mip_size
from reporting.metrics import material_psnr
from runtime.viewer.images import PACKS, astc_side, make_source, mip_chain


def place(width: int, height: int, mip: int) -> tuple[slice, slice]:
    """Rows and columns of a mip in a mip-chain picture."""
    w, h = mip_size(width, height, mip)
    top = sum(mip_size(width, height, m)[1] for m in range(1, mip))
    left = width if mip else 0
    return slice(top, top + h), slice(left, left + w)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (96, 64), (5, 9), (1, 7), (1, 1)])
def test_a_mip_chain_picture_holds_every_mip(width, height):
    generator = np.random.default_rng(0)
    mips = [
        generator.integers(0, 256, (*mip_size(width, height, mip)[::-1], 11), np.uint8)
        for mip in range(min(width, height).bit_length())
    ]
    sheet = mip_chain(mips, PACKS["surface"])
    for number, mip in enumerate(mips):
        assert (sheet[place(width, height, number)] == mip[..., 6:9]).all()


@pytest.mark.parametrize("source", ["original", "baked", "bc7", "astc"])
def test_pictures_of_a_source_are_its_maps(source, material):
    made = make_source(source, material)
    textures = material.textures
    sheets = {pack: np.asarray(Image.open(io.BytesIO(data))) for pack, data in made.files.items()}
    assert set(sheets) == {"diffuse", "normal", "surface", "relief"}
    expected = {"original": lambda mip: textures.mips[mip], "baked": material.reader.decode_uint8}
    for mip in range(made.figures["mips"]):
        decoded = np.zeros_like(textures.mips[mip])
        for pack, channels in PACKS.items():
            decoded[..., list(channels)] = sheets[pack][place(96, 64, mip)][..., : len(channels)]
        if source in expected:
            assert (decoded == expected[source](mip)).all()
        else:
            psnr = material_psnr(textures.mips[mip], decoded, textures.present)
            finite = {name: value if math.isfinite(value) else None for name, value in psnr.items()}
            assert {name: values[mip] for name, values in made.figures["psnr"].items()} == pytest.approx(finite)


def test_bc7_figures_are_those_of_the_codec(material):
    figures = make_source("bc7", material).figures
    result = CODECS["bc7"].run(material.textures, "linear")
    assert figures["bpp"] == pytest.approx(8 * result.size_bytes / (96 * 64))
    assert figures["memory_bytes"] == bc7_bytes(material.manifest)
    assert figures["encoder"] == CODECS["bc7"].encoder("linear")
    assert figures["bpp_mips"] > figures["bpp"]


def test_astc_is_taken_at_the_rate_of_the_neural_texture():
    present = dict.fromkeys(("diffuse", "normal", "roughness", "occlusion", "displacement"), True)
    present |= {"metallic": False, "specular": False}
    assert astc_side(present, 3 * 8) == 4
    assert astc_side(present, 3 * 128 / 36) == 6
    assert astc_side(present, 0.1) == 12
