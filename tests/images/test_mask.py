"""Masks: what a file says, what the pixels say, and what they must not be taken for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.atlas import MASK_NAME, make_atlas
from benchmarks.materials import make_materials
from configs import ImageConfig
from dataset import channel_slice, load_texture_set
from images.mask import GUTTER, coverage, make_mask, plain_background, read_mask
from reporting.inspection import describe
from tests.images.files import flat, save
from utils.errors import UserError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
CHANNELS = list(range(7))
NORMAL = slice(3, 6)
CLEAR = (0, 0, 0, 128, 128, 255, 255)


def sheet(side=64, value=CLEAR, box=(8, 40, 8, 56)):
    """Noise in a box on a plain ground: uint8 [side, side, 11], the last channels of no map."""
    texels = np.zeros((side, side, 11), np.uint8)
    texels[..., :7] = value
    top, bottom, left, right = box
    noise = np.random.default_rng(0).integers(60, 200, (bottom - top, right - left, 7))
    texels[top:bottom, left:right, :7] = noise
    return texels


def idle_of(texels):
    return plain_background(texels, CHANNELS, NORMAL)


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    return make_materials(tmp_path_factory.mktemp("materials"), 128, ["twill", "painted_metal", "tiles"])


@pytest.fixture(scope="module")
def atlas(materials, tmp_path_factory):
    return make_atlas(tmp_path_factory.mktemp("sheets") / "atlas", materials, size=256, gutter=8)


def test_a_plain_ground_between_islands_is_found_exactly():
    idle = idle_of(sheet())
    expected = np.ones((64, 64), bool)
    expected[8:40, 8:56] = False
    assert (idle == expected).all()


@pytest.mark.parametrize(
    "value",
    [
        # A painted sign: flat, but of no colour that a texture is cleared with.
        (178, 30, 28, 128, 128, 255, 89),
        (0, 0, 0, 128, 128, 255, 89),
        (64, 64, 64, 128, 128, 255, 255),
    ],
)
def test_a_flat_material_of_its_own_colour_is_none(value):
    assert idle_of(sheet(value=value)) is None


def test_a_flat_material_on_one_half_is_none_though_its_colour_is_clear():
    assert idle_of(sheet(box=(0, 64, 32, 64))) is None
    assert idle_of(sheet(box=(0, 32, 0, 64))) is None


def test_a_ground_whose_normals_are_none_is_found_wherever_it_lies():
    idle = idle_of(sheet(value=(90, 40, 10, 0, 0, 0, 77), box=(0, 64, 24, 64)))
    assert idle[:, :24].all() and not idle[:, 24:].any()


def test_flat_parts_within_an_island_are_not_taken_for_the_ground_of_the_same_colour():
    texels = sheet()
    texels[16:30, 16:30, :7] = CLEAR
    assert not idle_of(texels)[8:40, 8:56].any()


def test_what_is_flat_all_over_or_nowhere_has_no_ground():
    assert idle_of(sheet(box=(30, 34, 30, 34))) is None
    assert idle_of(sheet(box=(0, 64, 0, 64))) is None
    assert idle_of(np.zeros((1, 1, 11), np.uint8)) is None
    # A frame of which a gutter leaves nothing.
    assert idle_of(sheet(box=(2, 62, 2, 62))) is None


def test_one_map_that_is_not_flat_keeps_the_ground():
    texels = sheet()
    texels[..., 6] = np.random.default_rng(1).integers(0, 256, (64, 64))
    assert idle_of(texels) is None


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (40, 9)])
def test_mips_carry_the_used_share(size):
    width, height = size
    used = np.random.default_rng(2).random((height, width)) < 0.3
    sizes = [(max(width >> mip, 1), max(height >> mip, 1)) for mip in range(4)]
    shares = coverage(used, sizes)
    mask = make_mask(shares, None)
    for share, stored, (w, h) in zip(shares, mask.shares, sizes):
        assert stored.shape == (h, w) and ((stored > 0) == (share > 0)).all()
        # An average of averages has the mean of the first.
        assert share.mean() == pytest.approx(used.mean(), abs=1e-4)
        assert np.abs(stored / 255 - share).max() <= 1 / 255 + 1e-6
    assert mask.idle == pytest.approx(1 - used.mean())


def test_the_gutter_is_two_texels_of_each_mip():
    used = np.zeros((32, 32), bool)
    used[8:16, 8:16] = True
    mask = make_mask(coverage(used, [(32, 32), (16, 16)]), None)
    for mip, (first, last) in enumerate([(8, 16), (4, 8)]):
        kept = mask.kept(mip)
        expected = np.zeros_like(kept)
        expected[first - GUTTER : last + GUTTER, first - GUTTER : last + GUTTER] = True
        assert (kept == expected).all()


@pytest.mark.parametrize("side", [1, 3, 16])
def test_the_gutter_goes_across_the_border_of_a_tiling_material(side):
    used = np.zeros((side, 32), bool)
    used[0, 0] = True
    mask = make_mask(coverage(used, [(32, side)]), "mask.png")
    rows = {row % side for row in range(-GUTTER, GUTTER + 1)}
    assert set(np.nonzero(mask.kept(0, wrap=True))[0]) == rows
    assert set(np.nonzero(mask.kept(0, wrap=True))[1]) == {30, 31, 0, 1, 2}
    assert set(np.nonzero(mask.kept(0))[1]) == {0, 1, 2}


def test_the_pixels_of_an_atlas_say_what_its_mask_says(atlas):
    found, given = load_texture_set(atlas), load_texture_set(atlas, images=ImageConfig(mask=MASK_NAME))
    assert found.mask.file is None and given.mask.file == MASK_NAME
    assert (found.mask.shares[0] == given.mask.shares[0]).all() and 0.2 < found.mask.idle < 0.6
    assert found.mask.digest == given.mask.digest and found.fingerprint == given.fingerprint
    # What the pixels say counts on clamped sheets alone, what a file says in any case.
    assert found.mask_for(wrap=True) is None and found.mask_for(wrap=False) is found.mask
    assert given.mask_for(wrap=True) is given.mask
    assert load_texture_set(atlas, images=ImageConfig(mask="none")).mask is None
    assert MASK_NAME in found.others and MASK_NAME not in given.others
    assert any(MASK_NAME in line for line in found.notices) and not any(MASK_NAME in line for line in given.notices)


def test_mips_of_a_masked_sheet_average_used_texels_alone(atlas):
    plain = load_texture_set(atlas, images=ImageConfig(mask="none"))
    found = load_texture_set(atlas)
    given = load_texture_set(atlas, images=ImageConfig(mask=MASK_NAME))
    assert all((ours == theirs).all() for ours, theirs in zip(found.mips, plain.mips))
    assert (given.mips[0] == plain.mips[0]).all()
    channel = channel_slice("roughness").start
    used, texels = given.mask.shares[0] > 0, plain.mips[0][..., channel].astype(float)
    blocks = used.reshape(64, 4, 64, 4).sum((1, 3))
    sums = (texels * used).reshape(64, 4, 64, 4).sum((1, 3))
    expected = sums / np.maximum(blocks, 1)
    mixed = blocks > 0
    assert (blocks[mixed] < 16).any()
    assert np.abs(given.mips[2][..., channel][mixed] - expected[mixed]).max() <= 1
    assert (given.mips[2][blocks == 16] == plain.mips[2][blocks == 16]).all()
    assert (given.mips[2][blocks == 0] == plain.mips[2][blocks == 0]).all()


def test_a_material_that_is_none_of_these_has_no_mask(materials):
    for folder in materials:
        assert load_texture_set(folder).mask is None


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the materials are not there: {REAL}")
@pytest.mark.parametrize(
    "name", ["BoomBox", "Facade005", "Metal053C", "trak5_panel1", "gltf/Duck.glb", "gltf/BoxTextured.glb"]
)
def test_real_materials_with_flat_parts_are_not_masked(name):
    assert load_texture_set(REAL / name).mask is None


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (flat(8, 8, 255), None),
        (flat(8, 8, (200, 0, 0)), None),
        (flat(8, 8, (0, 0, 255, 255)), None),
        (np.full((8, 8), 60000, np.uint16), None),
    ],
)
def test_a_mask_is_black_where_texels_are_unused(tmp_path, values, mode):
    texels = np.array(values)
    texels[:3] = 0
    if texels.ndim == 3 and texels.shape[2] == 4:
        texels[..., 3] = 255
    Image.fromarray(texels).save(tmp_path / "mask.png")
    used, notices = read_mask(tmp_path / "mask.png", 8, 8, 1 << 20)
    assert not used[:3].any() and used[3:].all() and notices == []


def test_a_mask_whose_alpha_varies_is_read_by_it(tmp_path):
    texels = np.zeros((8, 8, 4), np.uint8)
    texels[2:, :, 3] = 255
    save(tmp_path / "mask.png", texels)
    used, notices = read_mask(tmp_path / "mask.png", 8, 8, 1 << 20)
    assert not used[:2].any() and used[2:].all() and "alpha" in notices[0]


def test_noise_that_jpeg_leaves_in_black_is_unused(tmp_path):
    texels = np.zeros((64, 64), np.uint8)
    texels[:, 32:] = 255
    save(tmp_path / "mask.jpg", texels, quality=80)
    used, _ = read_mask(tmp_path / "mask.jpg", 64, 64, 1 << 20)
    assert not used[:, :24].any() and used[:, 32:].all()


@pytest.mark.parametrize("size", [(16, 16), (4, 4), (5, 11)])
def test_a_mask_of_another_size_keeps_every_used_texel(tmp_path, size):
    texels = np.zeros((8, 8), np.uint8)
    texels[3, 3] = 255
    save(tmp_path / "mask.png", texels)
    used, notices = read_mask(tmp_path / "mask.png", *size, 1 << 20)
    y, x = np.nonzero(used)
    assert y.min() == 3 * size[1] // 8 and x.min() == 3 * size[0] // 8
    assert y.max() == -(-4 * size[1] // 8) - 1 and x.max() == -(-4 * size[0] // 8) - 1
    assert "resized from 8 x 8" in notices[0]


def test_a_mask_that_cannot_be_is_refused_in_one_line(tmp_path, materials):
    for name, values, words in (("black.png", flat(8, 8, 0), "black"), ("text.png", None, "read")):
        if values is None:
            (tmp_path / name).write_text("no image")
        else:
            save(tmp_path / name, values)
        with pytest.raises(UserError, match=words) as error:
            load_texture_set(materials[0], images=ImageConfig(mask=str(tmp_path / name)))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="--mask nowhere.png is neither in"):
        load_texture_set(materials[0], images=ImageConfig(mask="nowhere.png"))


def test_a_mask_without_unused_texels_masks_nothing(tmp_path, materials):
    save(tmp_path / "white.png", flat(8, 8, 255))
    textures = load_texture_set(materials[0], images=ImageConfig(mask=str(tmp_path / "white.png")))
    assert textures.mask is None and "mask: white.png leaves no texel unused" in textures.notices


def test_the_inspection_says_what_is_idle(atlas):
    assert any(
        line.startswith("note: mask: with --wrap False") for line in describe("a", load_texture_set(atlas)).lines
    )
    given = describe("a", load_texture_set(atlas, images=ImageConfig(mask=MASK_NAME)))
    assert any(line.startswith("note: mask: ") and MASK_NAME in line for line in given.lines)
    assert not any(MASK_NAME in line and "known" in line for line in given.lines)
