"""A folder becomes a texture set: channels, sizes, notices, and the command that shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import TEXTURE_CHANNELS
from dataset import load_texture_set
from tests.images.files import flat, refusal, save

ROOT = Path(__file__).resolve().parents[2]


def test_maps_land_in_their_channels_and_missing_maps_are_zero(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(4, 8, (10, 20, 30)))
    save(tmp_path / "a_height.png", flat(4, 8, 77))
    textures = load_texture_set(tmp_path)
    assert (textures.width, textures.height, len(textures.mips)) == (8, 4, 3)
    assert [mip.shape for mip in textures.mips] == [(4, 8, 11), (2, 4, 11), (1, 2, 11)]
    for mip in textures.mips:
        assert mip.dtype == np.uint8
        assert np.unique(mip.reshape(-1, 11), axis=0).tolist() == [[10, 20, 30, 0, 0, 0, 0, 0, 0, 0, 77]]
    assert list(textures.present) == list(TEXTURE_CHANNELS)
    assert [name for name in TEXTURE_CHANNELS if textures.present[name]] == ["diffuse", "displacement"]
    assert textures.channel_mask.tolist() == [True] * 3 + [False] * 7 + [True]
    assert textures.files == {"diffuse": "a_albedo.png", "displacement": "a_height.png"}
    assert textures.name == tmp_path.name
    assert textures.notices == []


def test_one_channel_normal_map_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a_normal.png", flat(2, 2, 128))
    assert "a_normal.png" in refusal(tmp_path)


def test_one_channel_packed_map_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a_arm.png", flat(2, 2, 128))
    assert "a_arm.png" in refusal(tmp_path)


def test_grey_albedo_fills_three_channels(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", [[7, 9]])
    assert load_texture_set(tmp_path).mips[0][0, :, :3].tolist() == [[7, 7, 7], [9, 9, 9]]


def test_one_channel_map_takes_the_channel_that_carries_data(tmp_path: Path) -> None:
    values = np.full((4, 4, 3), 255, np.uint8)
    values[..., 1] = np.arange(16).reshape(4, 4) + 70
    save(tmp_path / "a_rough.png", values)
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., 6], values[..., 1])
    assert any("channel G" in line for line in textures.notices)


def test_constant_one_channel_map_ignores_black_and_white_filling(tmp_path: Path) -> None:
    save(tmp_path / "a_rough.png", flat(4, 4, (255, 255, 80)))
    assert load_texture_set(tmp_path).mips[0][0, 0, 6] == 80


def test_coloured_one_channel_map_is_averaged_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_specular.png", [[[0, 100, 200], [30, 200, 100]]])
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][0, :, 9].tolist() == [100, 110]
    assert any("mean" in line for line in textures.notices)


def test_grey_stored_as_colour_needs_no_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_rough.png", [[[5, 5, 5], [90, 90, 90]]])
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][0, :, 6].tolist() == [5, 90] and textures.notices == []


def test_maps_of_another_size_follow_the_first_map_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_normal.png", flat(6, 10, (128, 128, 255)))
    save(tmp_path / "a_rough.png", np.repeat(np.repeat([[10, 30], [50, 70]], 6, 0), 10, 1))
    save(tmp_path / "a_height.png", flat(1, 1, 40))
    textures = load_texture_set(tmp_path)
    assert (textures.width, textures.height) == (10, 6)
    assert textures.mips[0][0, 0, 6] == 10 and textures.mips[0][5, 9, 6] == 70
    assert (textures.mips[0][..., 10] == 40).all()
    for name in ("a_rough.png", "a_height.png"):
        assert any(name in line and "10 x 6" in line for line in textures.notices)


def test_sample_material_has_five_maps_and_wraps() -> None:
    textures = load_texture_set(ROOT / "data" / "test")
    assert [name for name in TEXTURE_CHANNELS if textures.present[name]] == [
        "diffuse",
        "normal",
        "roughness",
        "occlusion",
        "displacement",
    ]
    (guess,) = textures.notices
    assert "OpenGL (green points up), a guess" in guess and textures.normal_convention == "opengl"
    texels = textures.mips[0].astype(int)
    for axis in (0, 1):
        # A seam would be a step unlike any other between neighbouring lines.
        steps = np.abs(np.roll(texels, -1, axis) - texels).mean(axis=(1 - axis, 2))
        assert steps[-1] < steps[:-1].max()


def test_command_prints_the_maps_and_fails_cleanly_on_a_missing_folder(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(2, 3, (1, 2, 3)))
    command = [sys.executable, str(ROOT / "dataset.py")]
    good = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert good.returncode == 0 and "a_albedo.png" in good.stdout and "3 x 2" in good.stdout
    bad = subprocess.run([*command, str(tmp_path / "absent")], capture_output=True, text=True, cwd=ROOT)
    assert bad.returncode == 1 and bad.stderr.startswith("error:") and len(bad.stderr.splitlines()) == 1


def test_notices_come_in_canonical_order_and_are_the_same_every_time(tmp_path: Path) -> None:
    for name, size in (("a_height", 64), ("a_metallic", 8), ("a_rough", 300), ("a_normal", 16)):
        save(tmp_path / f"{name}.png", flat(size, size, (128, 120, 200)))
    save(tmp_path / "a_albedo.png", flat(32, 32, (1, 2, 3)))
    save(tmp_path / "holiday.gif", flat(2, 2, 9))
    first = load_texture_set(tmp_path)
    resized = [line.partition(":")[0] for line in first.notices if "resized" in line]
    assert resized == ["normal", "roughness", "metallic", "displacement"]
    assert first.notices[0].startswith("skipped holiday.gif")
    for _ in range(5):
        again = load_texture_set(tmp_path)
        assert again.notices == first.notices
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(again.mips, first.mips, strict=True))


def test_of_two_damaged_files_the_first_in_canonical_order_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(512, 512, (1, 2, 3)))
    for name in ("a_normal.png", "a_height.png"):
        (tmp_path / name).write_bytes(b"damaged")
    for _ in range(5):
        assert "a_normal.png" in refusal(tmp_path)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_command_prints_names_that_the_console_cannot_show(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "\u77f3\u5934"
    folder.mkdir()
    save(folder / "\u77f3_albedo.png", flat(2, 3, (1, 2, 3)))
    save(folder / "\u77f3.gif", flat(2, 3, 1))
    done = subprocess.run(
        [sys.executable, str(ROOT / "dataset.py"), str(folder)],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    output = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr
    assert "3 x 2" in output and "note: skipped" in output and "missing" in output
