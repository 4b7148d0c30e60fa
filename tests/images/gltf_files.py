"""glTF files to test with, written by hand."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.images.files import flat


def png(color: tuple[int, ...] | int = 128, size: tuple[int, int] = (8, 8), image_format: str = "PNG") -> bytes:
    """A flat image of a width and height."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(flat(size[1], size[0], color))).save(file, image_format)
    return file.getvalue()


def document(materials: list[dict], images: list[bytes | dict], **more: Any) -> tuple[dict, bytes]:
    """A glTF document with one texture an image, and the buffer of the images that are bytes."""
    views, entries, buffer = [], [], b""
    for image in images:
        if isinstance(image, bytes):
            entries.append({"bufferView": len(views), "mimeType": "image/png"})
            views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": len(image)})
            buffer += image + b"\0" * (-len(image) % 4)
        else:
            entries.append(image)
    found = {
        "asset": {"version": "2.0"},
        "materials": materials,
        "textures": [{"source": index} for index in range(len(images))],
        "images": entries,
        "bufferViews": views,
        "buffers": [{"byteLength": len(buffer)}] if buffer else [],
    }
    return found | more, buffer


def glb_bytes(content: dict, buffer: bytes) -> bytes:
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if buffer:
        chunks += struct.pack("<I4s", len(buffer), b"BIN\0") + buffer
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def write_glb(path: Path, materials: list[dict], images: list[bytes | dict], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(glb_bytes(*document(materials, images, **more)))
    return path


def data_uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def textured(index: int = 0, **surface: Any) -> dict:
    """A material with a base colour texture."""
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": index}, **surface}}
