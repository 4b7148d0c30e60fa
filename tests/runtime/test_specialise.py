"""What the generated code does and binds: multiply-adds of every preset, folding, containers that targets cannot read."""

from __future__ import annotations

import pytest

from runtime.shaders import generate
from runtime.specialise import Options, specialise
from runtime.weights import pack_weights
from utils.errors import UserError

TEXTURES = Options(filter=False)


@pytest.mark.parametrize(
    ("name", "texel", "point"),
    [
        ("preset ue5", 384, 384),
        ("preset mobile", 512, 512),
        ("preset quality", 18608, 79600),
        ("preset realtime", 7456, 52352),
    ],
)
def test_multiply_adds_are_what_the_code_does(exports, name, texel, point):
    """Of quality, for a texel: 64 + 12 rows (11 outputs of the linear decoder, padded) of 4 x 40 taps (38, padded) and 20
    features (19), the bias with everything of the place, and the layers 64 x 64 and 12 x 64. For a point also 3 products
    into 64 rows and 15 into 12 of the taps, and 12 inputs each of the encoding and of the linear decoder."""
    reader = exports(name)
    assert specialise(reader, pack_weights(reader), TEXTURES).macs == {"texel": texel, "point": point}


def test_folding_needs_texels_with_few_places(exports):
    assert pack_weights(exports("order 1, int8")).fold is not None
    assert pack_weights(exports("order 1, not folded")).fold is None
    assert pack_weights(exports("order 1, int8"), fold=False).fold is None


def test_packed_grids_bind_one_texture_each(exports):
    names = [b.name for b in generate(exports("preset quality"), "wgsl", TEXTURES).bindings]
    assert names[:3] == ["grid_0", "grid_1", "weights"]


def test_buffers_hold_no_narrow_texels(exports):
    with pytest.raises(UserError, match="--storage packed"):
        generate(exports("preset mobile"), "cpp")
