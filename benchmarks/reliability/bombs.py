"""Files that are small and promise, or unpack to, far more than they hold."""

from __future__ import annotations

import functools
import io
import json
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability import export_kinds, material_kinds, run_kinds, samples

HALF_GIB = 1 << 29
_SIDE = 32768
"""A side of 10^9 texels."""


@functools.cache
def packed_zeros(n_bytes: int, level: int = 1) -> bytes:
    """Return zlib's stream of zeros."""
    packer, block = zlib.compressobj(level), bytes(1 << 24)
    return (
        b"".join(packer.compress(block[: min(len(block), n_bytes - start)]) for start in range(0, n_bytes, len(block)))
        + packer.flush()
    )


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file with its sum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, extra: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """Return a PNG file of a zlib stream."""
    header = struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    )


def tiff(width: int, height: int, data: bytes, compression: int = 8, directories: int = 1) -> bytes:
    """Return a grey TIFF of one strip; with more directories, each is the same picture again."""
    entries = ((256, width), (257, height), (258, 8), (259, compression), (262, 1), (273, 8), (277, 1), (278, height))
    entries += ((279, len(data)),)
    parts, place = [data], 8 + len(data)
    size = 2 + 12 * len(entries) + 4
    for number in range(directories):
        following = place + size if number < directories - 1 else 0
        table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        parts.append(struct.pack("<H", len(entries)) + table + struct.pack("<I", following))
        place += size
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + b"".join(parts)


def _jpeg(folder: Path) -> bytes:
    data = bytearray((folder / "jpg" / "00").read_bytes())
    place = data.find(b"\xff\xc0")
    struct.pack_into(">2H", data, place + 5, 65500, 65500)
    return bytes(data)


def _exr(folder: Path) -> bytes:
    data = bytearray((folder / "exr" / "02").read_bytes())
    for name in (b"dataWindow\0box2i\0", b"displayWindow\0box2i\0"):
        struct.pack_into("<4i", data, data.find(name) + len(name) + 4, 0, 0, _SIDE - 1, _SIDE - 1)
    return bytes(data)


def _webp() -> bytes:
    canvas = struct.pack("<I", _SIDE - 1)[:3] * 2
    chunks = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + b"VP8L" + struct.pack("<I", 8) + b"\x2f" + bytes(7)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _scans(folder: Path) -> bytes:
    """A progressive JPEG of two million texels, whose last scan comes two thousand times."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (1440, 1440), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * 2000 + data[-2:]


IMAGES: dict[str, tuple[str, Callable[[Path], bytes], bool]] = {
    "PNG of 10^9 texels": ("png", lambda folder: png(_SIDE, _SIDE, packed_zeros(1 << 20)), True),
    "PNG of 1 bit, whole, 20,000 a side": (
        "png",
        lambda folder: png(20000, 20000, packed_zeros(2501 * 20000), bits=1, colour=0),
        True,
    ),
    "PNG that unpacks to 512 MiB": ("png", lambda folder: png(24, 16, packed_zeros(HALF_GIB)), False),
    "PNG with 512 MiB of text": (
        "png",
        lambda folder: png(24, 16, packed_zeros(73 * 16), png_chunk(b"zTXt", b"a\0\0" + packed_zeros(HALF_GIB))),
        False,
    ),
    "PNG with a profile of 512 MiB": (
        "png",
        lambda folder: png(24, 16, packed_zeros(73 * 16), png_chunk(b"iCCP", b"a\0\0" + packed_zeros(HALF_GIB))),
        False,
    ),
    "16-bit PNG that unpacks to 512 MiB": ("png", lambda folder: png(24, 16, packed_zeros(HALF_GIB), bits=16), False),
    "JPEG of 10^9 texels": ("jpg", _jpeg, True),
    "JPEG of 2,000 scans": ("jpg", _scans, False),
    "TIFF of 10^9 texels": ("tif", lambda folder: tiff(_SIDE, _SIDE, packed_zeros(1 << 20)), True),
    "TIFF whose strip unpacks to 512 MiB": ("tif", lambda folder: tiff(24, 16, packed_zeros(HALF_GIB)), False),
    "TIFF of 300,000 pictures": ("tif", lambda folder: tiff(24, 16, bytes(24 * 16), 1, 300_000), False),
    "WebP of 10^9 texels": ("webp", lambda folder: _webp(), True),
    "EXR of 10^9 texels": ("exr", _exr, True),
    "HDR of 10^9 texels": ("hdr", lambda folder: samples.hdr(_SIDE, _SIDE), True),
    "TGA of 10^9 texels": (
        "tga",
        lambda folder: struct.pack("<3B2HB4H2B", 0, 0, 10, 0, 0, 0, 0, 0, _SIDE, _SIDE, 24, 0) + bytes(400),
        True,
    ),
    "BMP of 10^9 texels": (
        "bmp",
        lambda folder: (
            struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 99, 0, 0, 54, 40, _SIDE, _SIDE, 1, 24, *[0] * 6) + bytes(400)
        ),
        True,
    ),
}
"""By name: the suffix, how it is made from the folder of samples, and whether it has to be refused."""


def make_image(name: str, samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    suffix, make, _ = IMAGES[name]
    (folder / f"rock_albedo.{suffix}").write_bytes(make(samples_folder))


def load(folder: Path, _out: Path) -> None:
    # At the default limit.
    from dataset import load_texture_set

    load_texture_set(folder)


def _npz(samples_folder: Path, folder: Path, member: bytes, shape: tuple[int, ...]) -> None:
    """Write an export whose weights lie packed in the npz, and say that they are of a shape."""
    shutil.copytree(samples_folder / "exports" / "00", folder / "export")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(folder / "export" / "network_data.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("network.npy", header.getvalue() + member)
    export_kinds.fit_manifest(folder / "export", "network_data.npz")


def _npz_packed(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    _npz(samples_folder, folder, bytes(HALF_GIB), (HALF_GIB // 4,))


def _npz_claimed(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    _npz(samples_folder, folder, bytes(64), (10**12,))


def _dds(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    shutil.copytree(samples_folder / "exports" / "00", folder / "export")
    manifest = json.loads((folder / "export" / "manifest.json").read_text("utf-8"))
    name = manifest["grids"][0]["files"][0]
    data = bytearray((folder / "export" / name).read_bytes())
    struct.pack_into("<2I", data, 12, 16384, 16384)
    (folder / "export" / name).write_bytes(data)
    levels = manifest["grids"][0]["n_levels"]
    manifest["grids"][0].update(max_resolution=16384, base_resolution=16384 >> (levels - 1))
    (folder / "export" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    export_kinds.fit_manifest(folder / "export", name)


def _checkpoint_packed(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    """A checkpoint one of whose tensors unpacks to half a GiB."""
    with zipfile.ZipFile(samples_folder / "run" / "model.pth") as source:
        with zipfile.ZipFile(folder / "model.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
            for name in source.namelist():
                target.writestr(name, bytes(HALF_GIB) if name.endswith("data/0") else source.read(name))


def _checkpoint(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path, random.Random], None]:
    """Return what writes a checkpoint with values changed."""

    def make(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
        import torch

        content = torch.load(samples_folder / "run" / "model.pth", weights_only=True)
        change(content)
        torch.save(content, folder / "model.pth")

    return make


def _expanded(content: dict[str, Any]) -> None:
    content["network"] = content["network"][:1].expand(1 << 20, 1 << 20)


def _repeated(content: dict[str, Any]) -> None:
    nested: list[Any] = ["x"]
    for _ in range(30):
        nested = [nested] * 10
    content["lineage"] = nested


def _endless(content: dict[str, Any]) -> None:
    content["lineage"].append(content["lineage"])


def _glb(header: tuple[int, ...] | None, samples_folder: Path, folder: Path) -> None:
    binary = b"\0" * 64
    document = material_kinds.gltf_document(samples_folder, {"byteLength": 1 << 40}, [1 << 39])
    data = bytearray(material_kinds.glb_bytes(json.dumps(document).encode(), binary))
    if header:
        struct.pack_into("<II", data, 8, *header)
    (folder / "maps").mkdir()
    (folder / "rock.glb").write_bytes(data)


def _glb_buffer(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    _glb(None, samples_folder, folder)


def _glb_lengths(samples_folder: Path, folder: Path, _chance: random.Random) -> None:
    _glb((0xFFFFFFFF, 0xFFFFFFF0), samples_folder, folder)


def _large_json(name: str) -> Callable[[Path, Path, random.Random], None]:
    def make(_samples: Path, folder: Path, _chance: random.Random) -> None:
        (folder / "export").mkdir()
        with (folder / "export" / name).open("wb") as file:
            # A hole takes no room on the disk.
            file.truncate(4 << 30)
        (folder / name).symlink_to(folder / "export" / name)

    return make


FILES: dict[str, tuple[Callable[[Path, Path, random.Random], None], Callable[[Path, Path], None]]] = {
    "npz that unpacks to 512 MiB": (_npz_packed, export_kinds.open_export),
    "npz of 10^12 weights": (_npz_claimed, export_kinds.open_export),
    "DDS of 16,384 a side": (_dds, export_kinds.open_export),
    "checkpoint that unpacks to 512 MiB": (_checkpoint_packed, run_kinds.open_checkpoint),
    "checkpoint with one number as 10^12": (_checkpoint(_expanded), run_kinds.open_checkpoint),
    "checkpoint with a list of 10^30": (_checkpoint(_repeated), run_kinds.open_checkpoint),
    "checkpoint with a list in itself": (_checkpoint(_endless), run_kinds.open_checkpoint),
    "GLB with a buffer of 1 TiB": (_glb_buffer, material_kinds.load_all),
    "GLB with chunks of 4 GiB": (_glb_lengths, material_kinds.load_all),
    "manifest of 4 GiB": (_large_json("manifest.json"), export_kinds.open_export),
    "settings of 4 GiB": (_large_json("config.json"), run_kinds.open_settings),
    "material.json of 4 GiB": (_large_json("material.json"), material_kinds.load_all),
}
