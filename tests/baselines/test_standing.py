"""A run beside ASTC at the same bits: block sizes around its rate, the same texels for both, what is said of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from baselines.codecs import ASTC_BLOCKS, CODECS
from baselines.standing import MOST_TEXELS, TILE, Standing, block_rate, bracketing_blocks, stand_beside_astc
from reporting.metrics import material_psnr
from reporting.summary import beside_astc
from tests.baselines.textures import material, run

WIDTH, HEIGHT = 720, 480


def _worse(textures, step=16):
    """The finest mip with fewer grey levels, and missing maps still zero."""
    return np.where(textures.channel_mask, textures.mips[0] // step * step + step // 2, 0).astype(np.uint8)


def test_the_rates_of_all_blocks_are_those_of_the_codec():
    textures = material(60, 60)
    for blocks in ("4x4", "10x8", "12x10"):
        size_bytes = run(textures, f"astc:{blocks}").size_bytes
        assert block_rate(blocks, 60, 60, 3) == pytest.approx(8 * size_bytes / 3600)


def test_blocks_lie_around_a_rate_and_beyond_all_rates_is_the_nearest():
    (low, low_bpp), (high, high_bpp) = bracketing_blocks(10.1, 1024, 1024, 3)
    assert (low, high) == ("8x5", "6x6") and low_bpp < 10.1 < high_bpp
    assert [blocks for blocks, _ in bracketing_blocks(0.1, 1024, 1024, 3)] == ["12x12"]
    assert [blocks for blocks, _ in bracketing_blocks(99, 1024, 1024, 3)] == ["4x4"]
    assert bracketing_blocks(6.0, 512, 512, 3) == [("8x8", 6.0)]


def test_every_block_side_divides_a_tile():
    assert all(TILE % int(side) == 0 for blocks in ASTC_BLOCKS for side in blocks.split("x"))


def test_of_a_large_material_tiles_are_compared_and_come_out_as_in_the_whole():
    textures = material(WIDTH, HEIGHT)
    assert WIDTH * HEIGHT > MOST_TEXELS
    standing = stand_beside_astc(textures, _worse(textures), 6.0)
    assert isinstance(standing, Standing) and standing.texels < WIDTH * HEIGHT
    whole = run(textures, "astc:8x8").decoded
    ours = material_psnr(textures.mips[0], _worse(textures), textures.present)["overall"]
    theirs = material_psnr(textures.mips[0], whole, textures.present)["overall"]
    assert standing.gain_db == pytest.approx(ours - theirs, abs=0.5)
    manifest = {"width": WIDTH, "height": HEIGHT, "beside_astc": standing.record()}
    assert "% of the texels" in beside_astc(manifest) and "8x8" in beside_astc(manifest)


def test_between_two_block_sizes_psnr_is_interpolated_over_log_rate():
    standing = Standing(4.0, 33.0, (("a", 2.0, 30.0), ("b", 8.0, 34.0)), 64)
    assert standing.astc_db == pytest.approx(32.0) and standing.gain_db == pytest.approx(1.0)
    text = beside_astc({"width": 8, "height": 8, "beside_astc": standing.record()})
    assert text == "1.00 dB above ASTC at 4.00 bits per texel, which has 30.00 dB at 2.00 (a) and 34.00 dB at 8.00 (b)"
    alone = dataclasses.replace(standing, bpp=1.0, points=(("a", 2.0, 36.0),))
    text = beside_astc({"width": 8, "height": 8, "beside_astc": alone.record()})
    assert text.startswith("3.00 dB below ASTC at the nearest rate it has")


def test_without_the_encoder_or_a_difference_a_line_says_so(monkeypatch):
    textures = material(32, 32)
    assert stand_beside_astc(textures, textures.mips[0], 6.0) == "identical to the original"
    missing = dataclasses.replace(CODECS["astc"], packages={"no_such_module": "no-such-package"})
    monkeypatch.setitem(CODECS, "astc", missing)
    assert "pip install no-such-package" in stand_beside_astc(textures, textures.mips[0], 6.0)
