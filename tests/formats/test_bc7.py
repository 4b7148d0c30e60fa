"""BC7 blocks: as good as Intel's encoder makes them, whole blocks, alpha, progress, and etcpak in its place."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import texture2ddecoder

from formats import bc7
from formats.bc7 import SETTINGS, bc7_blocks, bc7_encoder

ROOT = Path(__file__).resolve().parents[2]
needs_intel = pytest.mark.skipif(
    importlib.util.find_spec("ispc_texcomp") is None, reason="needs ispc-texcomp, which has wheels from Python 3.11 on"
)


def waves(height: int, width: int) -> np.ndarray:
    """Uint8 `[H, W, 4]` whose channels differ, with noise as in photographs; opaque."""
    y, x = np.mgrid[:height, :width] / 8
    channels = [128 + 90 * np.sin(x * (1 + c / 3) + c) * np.cos(y * (1 + c / 5)) for c in range(3)]
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    rgb = np.clip(np.stack(channels, -1) + noise, 0, 255)
    return np.concatenate([rgb, np.full((height, width, 1), 255.0)], 2).astype(np.uint8)


def decoded(blocks: bytes, height: int, width: int) -> np.ndarray:
    """Texels `[H, W, 4]` of blocks, by texture2ddecoder."""
    rows, columns = -(-height // 4) * 4, -(-width // 4) * 4
    bgra = texture2ddecoder.decode_bc7(blocks, columns, rows)
    return np.frombuffer(bgra, np.uint8).reshape(rows, columns, 4)[:height, :width, [2, 1, 0, 3]]


def psnr_db(rgba: np.ndarray, blocks: bytes, channels: slice = slice(0, 3)) -> float:
    error = rgba[..., channels].astype(float) - decoded(blocks, *rgba.shape[:2])[..., channels]
    return 10 * np.log10(255**2 / max(np.square(error).mean(), 1e-9))


@needs_intel
def test_intels_encoder_is_decibels_better_than_etcpak(monkeypatch):
    rgba = waves(128, 128)
    ours, thorough = psnr_db(rgba, bc7_blocks(rgba)), psnr_db(rgba, bc7_blocks(rgba, "thorough"))
    assert "ispc-texcomp" in bc7_encoder() and "etcpak" in bc7_encoder("perceptual")
    assert len({bc7_encoder(setting) for setting in SETTINGS}) == 3
    monkeypatch.setattr(bc7, "_intel", lambda: None)
    assert "etcpak" in bc7_encoder()
    assert thorough >= ours > psnr_db(rgba, bc7_blocks(rgba)) + 1


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("height, width", [(1, 1), (5, 7), (37, 21), (64, 64)])
def test_any_size_becomes_whole_blocks_and_opaque_stays_opaque(height, width, setting):
    rgba = waves(height, width)
    blocks = bc7_blocks(rgba, setting)
    assert len(blocks) == -(-height // 4) * -(-width // 4) * 16
    assert psnr_db(rgba, blocks) > 28
    # Modes with alpha round it by a step.
    assert decoded(blocks, height, width)[..., 3].min() >= 254


@pytest.mark.parametrize("setting", SETTINGS)
def test_alpha_is_kept(setting):
    rgba = waves(64, 64)
    rgba[..., 3] = rgba[..., 1]
    assert psnr_db(rgba, bc7_blocks(rgba, setting), slice(0, 4)) > 30


def test_strips_give_the_same_blocks_and_count_their_rows(monkeypatch):
    rgba, rows = waves(37, 21), []
    whole = bc7_blocks(rgba)
    monkeypatch.setattr(bc7, "TEXELS_AT_ONCE", 24 * 8)
    assert bc7_blocks(rgba, progress=rows.append) == whole
    assert rows == [8, 8, 8, 8, 5]


def test_strips_that_wait_are_not_begun_after_an_interrupt(monkeypatch):
    begun = []

    class Counting(bc7.ThreadPoolExecutor):
        def submit(self, function, *given):
            return super().submit(lambda strip: begun.append(1) or function(strip), *given)

    def interrupt(rows):
        raise KeyboardInterrupt

    monkeypatch.setattr(bc7, "ThreadPoolExecutor", Counting)
    monkeypatch.setattr(bc7, "TEXELS_AT_ONCE", 64 * 64)
    with pytest.raises(KeyboardInterrupt):
        bc7_blocks(waves(64 * 64, 64), progress=interrupt)
    assert len(begun) < 64


def test_another_setting_is_refused():
    with pytest.raises(ValueError, match="'fast' is none of linear"):
        bc7_blocks(waves(4, 4), "fast")


WITHOUT = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
import numpy as np
from baselines.codecs import CODECS
from formats.bc7 import bc7_blocks, bc7_encoder
from utils.errors import run_command
print(bc7_encoder(), CODECS["bc7"].encoder("linear"), CODECS["bc7"].missing(), sep="|")
run_command(lambda: print(len(bc7_blocks(np.zeros((8, 8, 4), np.uint8)))))
"""


def without(*modules: str) -> subprocess.CompletedProcess:
    """Encode in a Python that cannot import some modules."""
    command = [sys.executable, "-c", WITHOUT, *modules]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_etcpak_stands_in_and_is_named_where_intels_encoder_cannot_be_imported():
    ended = without("ispc_texcomp")
    assert ended.returncode == 0, ended.stderr
    named, length = ended.stdout.splitlines()
    encoder, codec, missing = named.split("|")
    assert encoder.startswith("etcpak ") and codec.startswith(f"{encoder}, texture2ddecoder") and not missing
    assert length == "64"


def test_without_any_encoder_one_line_says_what_to_install():
    ended = without("ispc_texcomp", "etcpak")
    assert ended.returncode == 1 and len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "pip install ispc-texcomp" in ended.stderr
    assert "pip install etcpak" in ended.stdout
