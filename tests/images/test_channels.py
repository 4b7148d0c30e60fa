"""Packed files that lack the channel their name promises, and grey ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset import load_texture_set
from utils.errors import UserError

RANDOM = np.random.default_rng(3)
COLOUR = RANDOM.integers(0, 255, (16, 16, 4), np.uint8)


def write(folder: Path, name: str, texels: np.ndarray) -> None:
    Image.fromarray(texels).save(folder / name, quality=100)


@pytest.mark.parametrize(
    ("name", "kept", "dropped"),
    [
        ("wall_MetallicSmoothness.jpg", ["metallic"], "roughness"),
        ("wall_MaskMap.jpg", ["occlusion", "metallic"], "roughness"),
        ("wall_ddna.jpg", ["normal"], "roughness"),
        ("wall_AlbedoSmoothness.jpg", ["diffuse"], "roughness"),
    ],
)
def test_a_packed_file_without_alpha_gives_the_maps_that_it_has_with_a_line(
    tmp_path: Path, name: str, kept: list[str], dropped: str
) -> None:
    write(tmp_path, name, COLOUR[..., :3])
    found = load_texture_set(tmp_path)
    assert list(found.files) == kept
    assert [line for line in found.notices if line.startswith(f"{dropped}: {name} has no alpha")]


def test_a_packed_file_with_alpha_gives_all_of_its_maps(tmp_path: Path) -> None:
    write(tmp_path, "wall_MetallicSmoothness.png", COLOUR)
    found = load_texture_set(tmp_path)
    assert np.array_equal(found.mips[0][..., 6], 255 - COLOUR[..., 3])
    assert np.array_equal(found.mips[0][..., 8], COLOUR[..., 0])


def test_grey_with_alpha_is_read_for_a_file_of_one_colour_channel(tmp_path: Path) -> None:
    write(tmp_path, "wall_MetallicSmoothness.png", COLOUR[..., :2])
    found = load_texture_set(tmp_path)
    assert np.array_equal(found.mips[0][..., 6], 255 - COLOUR[..., 1])
    assert np.array_equal(found.mips[0][..., 8], COLOUR[..., 0])
    assert "metallic: wall_MetallicSmoothness.png is grey, taken for its channel R" in found.notices


def test_a_grey_file_of_several_colour_channels_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "wall_ORM.png", COLOUR[..., 0])
    with pytest.raises(UserError, match="wall_ORM.png has one channel, but its name says that it packs several"):
        load_texture_set(tmp_path)


def test_a_channel_of_a_grey_file_in_material_json_is_its_grey(tmp_path: Path) -> None:
    write(tmp_path, "a.png", COLOUR[..., 0])
    (tmp_path / "material.json").write_text(json.dumps({"maps": {"roughness": {"file": "a.png", "channel": "G"}}}))
    found = load_texture_set(tmp_path)
    assert np.array_equal(found.mips[0][..., 6], COLOUR[..., 0])
    assert "roughness: a.png is grey, taken for its channel G" in found.notices


def test_alpha_that_material_json_asks_for_has_to_be_there(tmp_path: Path) -> None:
    write(tmp_path, "a.png", COLOUR[..., :3])
    maps = {"diffuse": "a.png", "roughness": {"file": "a.png", "channel": "A"}}
    (tmp_path / "material.json").write_text(json.dumps({"maps": maps}))
    with pytest.raises(UserError, match="a.png has no alpha, where the roughness map is to be read"):
        load_texture_set(tmp_path)
