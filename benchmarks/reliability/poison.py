"""Materials that cannot be trained, one folder each: what lies in a studio's folders beside the good ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.trained import write_material


def _truncated_png(folder: Path) -> None:
    path = write_material(folder) / "rock_albedo.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _no_image(folder: Path) -> None:
    (write_material(folder) / "rock_roughness.png").write_text("<html>404 not found</html>")


def _no_bytes(folder: Path) -> None:
    (write_material(folder) / "rock_normal.png").write_bytes(b"")


def _empty_folder(folder: Path) -> None:
    folder.mkdir(parents=True)


def _two_equal_maps(folder: Path) -> None:
    write_material(folder)
    (folder / "old_albedo.png").write_bytes((folder / "rock_albedo.png").read_bytes())


def _bomb(folder: Path) -> None:
    """A PNG of 100,000 x 100,000 texels in a few kilobytes."""
    write_material(folder)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    side = 100_000
    rows = io.BytesIO()
    packer = zlib.compressobj(9)
    for _ in range(20):
        rows.write(packer.compress(bytes(3 * side + 1)))
    rows.write(packer.flush())
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows.getvalue()) + chunk(b"IEND", b"")
    (folder / "rock_albedo.png").write_bytes(data)


def _bad_material_file(folder: Path) -> None:
    (write_material(folder) / "material.json").write_text('{"albedo": "rock_albedo.png", ')


def _missing_file(folder: Path) -> None:
    (write_material(folder) / "material.json").write_text('{"maps": {"diffuse": {"file": "gone.png"}}}')


def _torn_gltf(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "rock.glb").write_bytes(b"glTF\x02\x00\x00\x00\xff\x00\x00\x00\x40\x00\x00\x00JSON{")


def _folder_as_image(folder: Path) -> None:
    (write_material(folder) / "rock_normal.png").unlink()
    (folder / "rock_normal.png").mkdir()
    path = folder / "rock_albedo.png"
    # The end of the file holds the last rows.
    path.write_bytes(path.read_bytes()[:-200])


POISONS: dict[str, Callable[[Path], None]] = {
    "a truncated PNG": _truncated_png,
    "a page called PNG": _no_image,
    "a file of no bytes": _no_bytes,
    "an empty folder": _empty_folder,
    "two equal maps": _two_equal_maps,
    "a decompression bomb": _bomb,
    "a broken material.json": _bad_material_file,
    "a material.json that names no file": _missing_file,
    "a torn GLB": _torn_gltf,
    "a folder called PNG": _folder_as_image,
}
"""What is wrong, and what writes such a folder."""
