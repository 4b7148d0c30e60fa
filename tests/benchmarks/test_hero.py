"""The manual's first picture: one material from three sources, with measured captions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import hero
from tests.baselines.textures import material
from utils.errors import UsageError


def test_the_picture_and_its_figures_come_from_a_real_run_and_a_real_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(hero, "SPHERE", 96)
    arguments = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--size", "256", "--max_iter", "20"]
    assert hero.main(arguments) == 0
    with Image.open(tmp_path / "out" / "hero.jpg") as picture:
        assert picture.width == hero.GAP + 3 * (96 + hero.GAP) and np.asarray(picture).std() > 20
    figures = json.loads((tmp_path / "out" / "hero.json").read_text(encoding="utf-8"))
    neural, astc = figures["records"]
    assert neural["codec"] == "neural-quality" and astc["codec"] == "astc"
    assert astc["bpp"] >= neural["bpp"] and astc["setting"].endswith("-thorough")
    assert all(5 < record["render"]["psnr_db"] < 80 for record in figures["records"])
    assert figures["command"] == "python -m benchmarks.hero --size 256 --max_iter 20"
    assert str(tmp_path) not in json.dumps(figures)
    # What was measured is used again.
    first = (tmp_path / "out" / "hero.jpg").read_bytes()
    monkeypatch.setattr(hero, "train_and_measure", None)
    assert hero.main(arguments) == 0 and (tmp_path / "out" / "hero.jpg").read_bytes() == first


def test_astc_gets_the_cheapest_blocks_that_have_no_fewer_bits():
    textures = material(120, 120)
    assert hero.blocks_at_no_fewer_bits(textures, 4.56) == "10x8"
    assert hero.blocks_at_no_fewer_bits(textures, 24.0) == "4x4"
    with pytest.raises(UsageError, match="24 at most"):
        hero.blocks_at_no_fewer_bits(textures, 24.1)


def test_close_ups_lie_where_each_render_is_worst_and_do_not_overlap():
    reference = np.zeros((400, 400, 3), np.uint8)
    first, second = reference.copy(), reference.copy()
    first[150:170, 150:170] = 255
    second[152:168, 152:168] = 200
    second[260:270, 240:250] = 90
    (row, column), (next_row, next_column) = hero.close_ups(reference, [first, second], 40)
    assert row <= 150 and row + 40 >= 170 and column <= 150 and column + 40 >= 170
    assert next_row <= 260 and next_row + 40 >= 270 and next_column <= 240 and next_column + 40 >= 250


def test_figures_of_renders_count_the_sphere_and_not_the_background(monkeypatch):
    monkeypatch.setattr(hero, "SPHERE", 64)
    side = 64 * hero.ZOOM
    ours, theirs = np.full((side, side, 3), 100, np.uint8), np.full((side, side, 3), 110, np.uint8)
    theirs[:20, :20] = 0
    assert hero.render_figures(ours, theirs)["psnr_db"] == pytest.approx(28.13, abs=0.01)
