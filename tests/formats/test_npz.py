"""npz files: what is written is read back, and no file can ask for more than it holds, or run code."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from formats.npz import npz_bytes, read_flat_array
from formats.reader import NeuralTextureReader
from tests.formats.reference_decoder import make_source
from training.exporting import export_material
from utils.errors import UserError


def npz_of(member: bytes, name="network.npy", compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, member)
    return buffer.getvalue()


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def claiming(shape) -> bytes:
    """An npy file whose header claims a shape that its data does not have."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(64)


def test_what_is_written_is_read_back_also_where_another_tool_compressed_it(tmp_path):
    values = np.arange(50, dtype=np.float32)
    (tmp_path / "ours.npz").write_bytes(npz_bytes({"network": values, "info": np.zeros(3, np.int32)}))
    np.savez_compressed(tmp_path / "theirs.npz", network=values)
    for name in ("ours.npz", "theirs.npz"):
        assert (read_flat_array(tmp_path / name, "network", "float32", 200) == values).all()


@pytest.mark.parametrize(
    "data,cause",
    [
        (b"", "cannot be read"),
        (b"PK\3\4" + bytes(60), "cannot be read"),
        (npz_of(b""), "cannot be read"),
        (npz_of(npy(np.zeros(4, np.float32)), "other.npy"), "no array 'network'"),
        (npz_of(npy(np.zeros(1 << 26, np.uint8))), "holds an array of 67108992 bytes"),
        (npz_of(claiming((10**12,))), "not as long as it says"),
        (npz_of(claiming((-1,))), "not as long as it says"),
        (npz_of(claiming(())), "expected a flat"),
        (npz_of(claiming((4, 4))), "expected a flat"),
        (npz_of(npy(np.zeros(4, np.float64))), "expected a flat"),
        (npz_of(npy(np.array([print], object), allow_pickle=True)), "expected a flat"),
        (npz_of(npy(np.zeros(4, np.float32), version=(2, 0))), "another version"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_line_and_no_memory(tmp_path, data, cause):
    path = tmp_path / "network_data.npz"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=cause) as caught:
            read_flat_array(path, "network", "float32", 1 << 10)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["network_data.npz", "hash_grid_0.dds"])
def test_any_flipped_byte_behind_a_matching_content_hash_is_read_or_refused_in_one_line(tmp_path, name):
    export_material(make_source(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    entry = next(entry for entry in manifest["files"] if entry["name"] == name)
    data = (tmp_path / name).read_bytes()
    chance = random.Random(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused = 0
        for _ in range(400):
            changed = bytearray(data)
            for _ in range(chance.choice((1, 1, 4))):
                changed[chance.randrange(min(len(data), 700)) * chance.choice((1, -1))] = chance.randrange(256)
            (tmp_path / name).write_bytes(changed)
            entry["sha256"] = hashlib.sha256(changed).hexdigest()
            (tmp_path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
            try:
                NeuralTextureReader(tmp_path).decode_uint8(0)
            except UserError as error:
                refused += 1
                assert "\n" not in str(error) and str(tmp_path) in str(error)
    assert refused > 50
