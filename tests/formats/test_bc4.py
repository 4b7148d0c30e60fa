"""BC4 and BC5 blocks: exact where eight values suffice, closer to the source than etcpak's, decoded as defined."""

from __future__ import annotations

import etcpak
import numpy as np
import pytest
import texture2ddecoder

from formats.bc4 import bc4_blocks, bc4_texels, bc5_blocks, bc5_texels


def decoded(payload: bytes, width: int, height: int) -> np.ndarray:
    return np.frombuffer(texture2ddecoder.decode_bc4(payload, width, height), np.uint8).reshape(height, width, 4)[
        ..., 2
    ]


def by_definition(block: bytes) -> np.ndarray:
    """The 16 values of a block as the format's page defines them, not rounded."""
    high, low, bits = block[0], block[1], int.from_bytes(block[2:], "little")
    palette = [high, low]
    if high > low:
        palette += [((7 - k) * high + k * low) / 7 for k in range(1, 7)]
    else:
        palette += [*(((5 - k) * high + k * low) / 5 for k in range(1, 5)), 0, 255]
    return np.array([palette[bits >> 3 * texel & 7] for texel in range(16)]).reshape(4, 4)


def test_a_block_worked_out_by_hand():
    block = np.full((4, 4), 10, np.uint8)
    block[0, 0], block[3, 3], block[0, 1] = 80, 80, 70
    # Ends 80 and 10; the first texel has index 0, the second one step down, index 2, the rest index 1, the last 0.
    bits = 0 | 2 << 3 | sum(1 << 3 * texel for texel in range(2, 15))
    assert bc4_blocks(block).tobytes() == bytes([80, 10]) + bits.to_bytes(6, "little")


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_constant_block_is_exact(value):
    assert (by_definition(bc4_blocks(np.full((4, 4), value, np.uint8)).tobytes()) == value).all()


def test_blocks_with_two_values_are_exact():
    rng = np.random.default_rng(0)
    for _ in range(50):
        block = rng.choice(rng.integers(0, 256, 2), (4, 4)).astype(np.uint8)
        assert (by_definition(bc4_blocks(block).tobytes()) == block).all()


def test_no_texel_of_any_block_is_further_off_than_a_step():
    blocks = np.random.default_rng(1).integers(0, 256, (40, 4, 4)).astype(np.uint8)
    for block in blocks:
        error = np.abs(by_definition(bc4_blocks(block).tobytes()) - block)
        assert error.max() <= (int(block.max()) - int(block.min())) / 7 + 1


def test_0_and_255_beside_values_far_from_them_are_exact():
    block = np.full((4, 4), 130, np.uint8)
    block[0], block[1], block[2, 0], block[3, 3] = 0, 255, 120, 125
    # Ends in ascending order: 120, 130, four values between them, 0 and 255.
    payload = bc4_blocks(block).tobytes()
    assert payload[0] <= payload[1]
    error = np.abs(by_definition(payload) - block.astype(float))
    assert error.max() <= 1 and not error[:2].any()


def test_blocks_lie_row_after_row():
    image = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, 4, axis=0), 4, axis=1)
    assert (decoded(bc4_blocks(image).tobytes(), 12, 8) == image).all()


@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_it_is_closer_than_etcpak(kind):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:64, :64] / 64
    smooth = 127 + 90 * np.sin(7 * x + 3 * np.cos(9 * y))
    image = rng.integers(0, 256, (64, 64)).astype(np.uint8) if kind == "noise" else smooth.astype(np.uint8)
    theirs = etcpak.compress_bc4(np.repeat(image[..., None], 4, axis=2).tobytes(), 64, 64)
    ours = bc4_blocks(image).tobytes()
    assert len(ours) == len(theirs)
    our_error, their_error = (
        np.square(decoded(payload, 64, 64) - image.astype(float)).sum() for payload in (ours, theirs)
    )
    assert 1.5 * our_error < their_error


def test_bc5_is_two_bc4_blocks_one_after_the_other():
    image = np.random.default_rng(3).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    blocks = bc5_blocks(image)
    assert blocks.shape == (6, 16)
    assert (blocks[:, :8] == bc4_blocks(image[..., 0])).all() and (blocks[:, 8:] == bc4_blocks(image[..., 1])).all()


def test_any_bytes_decode_to_the_rounded_values_of_the_definition():
    blocks = np.random.default_rng(4).integers(0, 256, (60, 16)).astype(np.uint8)
    texels = bc5_texels(blocks, 40, 24)
    assert texels.shape == (40, 24, 2)
    for index, block in enumerate(blocks):
        top, left = index // 6 * 4, index % 6 * 4
        for channel in (0, 1):
            expected = np.floor(by_definition(block[8 * channel : 8 * channel + 8].tobytes()) + 0.5)
            assert (texels[top : top + 4, left : left + 4, channel] == expected).all()
    theirs = decoded(blocks[:, :8].tobytes(), 24, 40)
    assert np.abs(bc4_texels(blocks[:, :8], 40, 24).astype(int) - theirs).max() <= 1


def best_error(block: np.ndarray) -> float:
    """The least squared error over all pairs of ends in the order that means eight values."""
    weights = np.arange(8) / 7
    least = np.inf
    for high in range(1, 256):
        low = np.arange(high)[:, None]
        palette = high * (1 - weights) + low * weights
        error = np.square(palette[:, None, :] - block.reshape(1, 16, 1)).min(axis=2).sum(axis=1)
        least = min(least, float(error.min()))
    return least


@pytest.mark.parametrize("spread", [3, 12, 30])
def test_the_error_is_close_to_the_least_that_any_eight_values_give(spread):
    rng = np.random.default_rng(spread)
    ours = least = 0.0
    for _ in range(4):
        block = np.clip(np.rint(rng.normal(rng.integers(100, 156), spread, (4, 4))), 0, 255).astype(np.uint8)
        ours += float(np.square(by_definition(bc4_blocks(block).tobytes()) - block).sum())
        least += best_error(block)
    assert ours < 1.15 * least
