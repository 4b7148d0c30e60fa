"""Codes survive their texel containers."""

from __future__ import annotations

import numpy as np
import pytest

from configs import QUANTIZE_BITS
from formats.codes import container_format, pack_codes, unpack_codes
from formats.dds import FORMATS, R8G8B8A8_UNORM
from utils.errors import UsageError


@pytest.mark.parametrize("storage", ["rgba8", "true_rate"])
@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_every_code_survives_its_container(bits, n_features, storage):
    side = 16 if bits < 16 else 256
    codes = np.stack(
        [np.roll(np.arange(side * side) % (1 << bits), 37 * f).reshape(side, side) for f in range(n_features)], axis=-1
    )
    containers = pack_codes(codes, bits, storage)
    assert len(containers) == -(-n_features // 4)
    assert (unpack_codes(containers, bits, n_features, container_format(bits, storage)) == codes).all()
    entry = FORMATS[container_format(bits, storage)]
    assert all(container.nbytes == side * side * entry.texel_bytes for container in containers)


def test_codes_are_spread_over_the_whole_channel():
    for bits, expected in ((2, [0, 85, 170, 255]), (4, list(range(0, 256, 17))), (8, list(range(256)))):
        codes = np.arange(1 << bits).reshape(1, -1, 1)
        assert pack_codes(codes, bits, "rgba8")[0][0, :, 0].tolist() == expected


def test_missing_features_are_zero_in_the_container():
    (container,) = pack_codes(np.full((2, 2, 1), 3), 2, "rgba8")
    assert container[..., 0].tolist() == [[255, 255], [255, 255]]
    assert (container[..., 1:] == 0).all()


def test_containers_follow_bits_and_storage():
    names = {
        (bits, storage): FORMATS[container_format(bits, storage)].name
        for bits in QUANTIZE_BITS
        for storage in ("rgba8", "true_rate")
    }
    assert {key for key, name in names.items() if name == "B4G4R4A4_UNORM"} == {(4, "true_rate")}
    assert {key[0] for key, name in names.items() if name == "R16G16B16A16_UNORM"} == {16}
    with pytest.raises(UsageError, match="storage 'bc7'"):
        container_format(8, "bc7")


def test_a_value_between_two_codes_is_refused():
    (container,) = pack_codes(np.full((2, 2, 1), 3), 2, "rgba8")
    container[0, 0, 0] = 84
    with pytest.raises(ValueError, match="no 2-bit codes"):
        unpack_codes([container], 2, 1, R8G8B8A8_UNORM)
