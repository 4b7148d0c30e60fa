"""Unused texels: how they are drawn and weighed, what is said of them, and what a run with a mask leaves behind."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from batch.content import differences, group_content
from benchmarks.atlas import MASK_NAME, make_atlas
from benchmarks.materials import make_materials
from configs import ImageConfig, ModelConfig
from dataset import get_texture_config, load_texture_set
from formats.reader import NeuralTextureReader
from images.inputs import material_maps
from images.mask import coverage, make_mask
from model.layout import model_layout
from reporting.metrics import material_psnr, mean_squared_error
from tests.helpers import ON, SHORT, assert_one_line, assert_same_training, run_folder
from training import flags as cli
from training.checkpoint import load_checkpoint
from training.export_source import source_from_checkpoint
from training.sampler import IDLE_DRAWS, IDLE_WEIGHT, TileSampler

CHANNELS = [0, 1, 2, 6]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheets")
    materials = make_materials(folder / "materials", 64, ["twill", "painted_metal"])
    return make_atlas(folder / "atlas", materials, size=128, gutter=8, idle=0.4)


def sampler_of(texture_set, *, wrap=False, seed=0, tile_size=8):
    layout = model_layout(ModelConfig(wrap=wrap), texture_set.width, texture_set.height)
    return TileSampler(
        texture_set,
        layout,
        CHANNELS,
        batch_size=512,
        tile_size=tile_size,
        mip_floor=0.02,
        seed=seed,
        device=torch.device("cpu"),
    )


def masked(texture_set, used, file="mask.png"):
    sizes = [(mip.shape[1], mip.shape[0]) for mip in texture_set.mips]
    return dataclasses.replace(texture_set, mask=make_mask(coverage(used, sizes), file))


def in_corner(texture_set, side):
    used = np.zeros(texture_set.mips[0].shape[:2], bool)
    used[:side, :side] = True
    return masked(texture_set, used)


@pytest.mark.parametrize("wrap", [True, False])
def test_every_used_texel_comes_in_every_round_and_idle_tiles_seldom(atlas, wrap):
    texture_set = in_corner(load_texture_set(atlas), 40)
    sampler = sampler_of(texture_set, wrap=wrap)
    kept, counts = texture_set.mask.kept(0), np.zeros((128, 128), int)
    for _ in range(200):
        batch = sampler.draw()
        np.add.at(counts.reshape(-1), batch.targets[batch.targets < 128 * 128], 1)
    rounds = sampler.drawn[0] // (16 + (not wrap)) ** 2
    assert rounds > 10 and counts[kept].min() >= rounds
    # Far from all that is used, tiles come so seldom that for every other one there are IDLE_DRAWS of them.
    far = counts[56:112, 56:112].mean() / counts[kept].mean()
    assert 0 < far < 2.5 * IDLE_DRAWS * kept.sum() / (~kept).sum()
    # Without the mask as many texels would be spread over the whole sheet.
    assert counts[kept].mean() > 4 * counts.sum() / counts.size


def test_idle_texels_weigh_little_beside_used_ones_and_all_in_tiles_without(atlas):
    texture_set = in_corner(load_texture_set(atlas), 40)
    sampler = sampler_of(texture_set)
    seen = set()
    for _ in range(200):
        batch, first = sampler.draw(), 0
        assert batch.texel_weights.shape == (len(batch.targets), 1)
        assert batch.texel_weights.mean() == pytest.approx(1, abs=1e-5)
        unit = batch.texel_weights.max()
        for group in batch.groups:
            texels = group.x.shape[1] * group.y.shape[1]
            for _ in group.x:
                rows, weights = (
                    values[first : first + texels] for values in (batch.targets, batch.texel_weights[:, 0])
                )
                first += texels
                used = sampler.used[rows]
                seen.add((bool(used.any()), bool(used.all())))
                assert weights / unit == pytest.approx(np.where(used | ~used.any(), 1, IDLE_WEIGHT), rel=1e-4)
    assert seen == {(True, True), (True, False), (False, False)}


def test_a_restart_goes_on_with_the_same_tiles(atlas):
    texture_set = in_corner(load_texture_set(atlas), 40)
    whole, first, second = (sampler_of(texture_set, seed=3) for _ in range(3))
    expected = [whole.draw().targets for _ in range(40)]
    for _ in range(17):
        first.draw()
    second.load_state(first.state())
    assert all((second.draw().targets == targets).all() for targets in expected[17:])


def test_a_mask_that_uses_all_draws_what_no_mask_draws(atlas):
    texture_set = load_texture_set(atlas, images=ImageConfig(mask="none"))
    plain, all_used = sampler_of(texture_set), sampler_of(masked(texture_set, np.ones((128, 128), bool)))
    for _ in range(30):
        ours, theirs = all_used.draw(), plain.draw()
        assert (ours.targets == theirs.targets).all() and (ours.texel_weights == 1).all()
    assert plain.mip_weights(0) is None


def test_a_sheet_with_one_used_texel_is_still_drawn(atlas):
    texture_set = in_corner(load_texture_set(atlas), 1)
    sampler = sampler_of(texture_set)
    assert all(sampler.used[sampler.draw().targets].any() for _ in range(20))
    assert sampler.drawn[0] // 17**2 >= 10
    weights = sampler.mip_weights(0)
    assert weights.shape == (128, 128) and weights[0, 0] == 1 and weights[-1, -1] == np.float32(IDLE_WEIGHT)


def test_the_error_of_used_texels_is_a_weighted_mean():
    random = np.random.default_rng(0)
    reference, decoded = random.integers(0, 256, (2, 37, 23, 5)).astype(np.uint8)
    shares = random.integers(0, 256, (37, 23)).astype(np.uint8)
    squares = (reference.astype(float) - decoded) ** 2
    expected = (squares * shares[..., None]).sum((0, 1)) / shares.sum()
    assert mean_squared_error(reference, decoded, shares) == pytest.approx(expected, rel=1e-5)
    assert mean_squared_error(reference, decoded, np.full_like(shares, 255)) == pytest.approx(
        mean_squared_error(reference, decoded), rel=1e-5
    )


def test_a_run_with_a_mask_says_so_and_states_both_figures(call, atlas, tmp_path):
    flags = ["--data_dir", atlas, *SHORT, *ON, "--preset", "quality", "--wrap", "False", "--mask", MASK_NAME]
    code, out, err = call(*flags, "--save_dir", tmp_path / "out")
    assert (code, err) == (0, "")
    textures = load_texture_set(atlas, images=ImageConfig(mask=MASK_NAME))
    text = " ".join(out.split())
    assert f"mask: {textures.mask.line}" in text and "PSNR, used: " in text
    folder = run_folder(tmp_path / "out")
    export = folder / "models" / "train_result_40"
    manifest = json.loads((export / "manifest.json").read_text())
    assert manifest["mask"] == {"file": MASK_NAME, "idle": pytest.approx(textures.mask.idle)}
    assert f"mask: {textures.mask.line}" in manifest["notices"]
    reader = NeuralTextureReader(export)
    for mip in (0, 2, 5):
        decoded, _ = reader.decode_codes(mip, [])
        everywhere = material_psnr(textures.mips[mip], decoded, textures.present)
        used = material_psnr(textures.mips[mip], decoded, textures.present, textures.mask.shares[mip])
        assert manifest["psnr"]["overall"][mip] == pytest.approx(everywhere["overall"])
        for name in ("overall", "roughness"):
            assert manifest["psnr_used"][name][mip] == pytest.approx(used[name])
    assert "overall, used texels" in (folder / "report.html").read_text()

    # Going on is exact; another mask beside it is a contradiction.
    whole = load_checkpoint(export / "model.pth")
    assert whole.mask == textures.mask.digest
    code, _, err = call("--load_dir", folder, "--load_iter", 20, "--save_dir", tmp_path / "resumed")
    assert (code, err) == (0, "")
    resumed = load_checkpoint(run_folder(tmp_path / "resumed") / "models" / "train_result_40" / "model.pth")
    assert_same_training(whole, resumed)
    code, _, err = call("--load_dir", folder, "--load_iter", 20, "--save_dir", tmp_path / "x", "--mask", "none")
    assert code == 2
    assert_one_line(err, "--mask none contradicts", MASK_NAME)

    source, reference = source_from_checkpoint(folder, -1)
    assert reference.mask_for(source.layout.wrap).digest == whole.mask


def test_another_mask_than_the_checkpoints_is_said(call, atlas, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in atlas.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    flags = ["--data_dir", data, *SHORT, *ON, "--preset", "ue5", "--mask", MASK_NAME, "--no-report"]
    code, _, err = call(*flags, "--save_dir", tmp_path / "out")
    assert (code, err) == (0, "")
    texels = np.full((128, 128), 255, np.uint8)
    texels[:, :50] = 0
    Image.fromarray(texels).save(data / MASK_NAME)
    folder = run_folder(tmp_path / "out")
    code, out, _ = call("--load_dir", folder, "--load_iter", 20, "--save_dir", tmp_path / "resumed", "--no-report")
    assert code == 0 and "is not the one that" in " ".join(out.split())


def test_a_wrapping_model_takes_no_notice_of_a_ground_that_the_pixels_show(atlas):
    texture_set = load_texture_set(atlas)
    assert texture_set.mask
    assert sampler_of(texture_set, wrap=True).used is None
    assert sampler_of(texture_set, wrap=False).used is not None


def test_a_batch_knows_the_mask_by_its_content(atlas, tmp_path):
    mask = tmp_path / "mask.png"
    maps = material_maps(str(atlas), get_texture_config())

    def content(name):
        return group_content(cli.make_config({"data_dir": str(atlas), "mask": name}), maps)

    mask.write_bytes((atlas / MASK_NAME).read_bytes())
    before, named = content(str(mask)), content(MASK_NAME)
    assert differences(content("auto"), content("auto")) == []
    assert named.files[MASK_NAME] == before.files["mask.png"]
    assert f"{MASK_NAME} is read now" in differences(content("auto"), named)
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert differences(before, content(str(mask))) == ["mask.png has changed"]
