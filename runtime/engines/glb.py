"""Binary glTF: a JSON document and one buffer, in one file (glTF 2.0, "GLB File Format Specification")."""

from __future__ import annotations

import json
import struct

import numpy as np

_MAGIC, _VERSION = b"glTF", 2
_JSON, _BIN = b"JSON", b"BIN\0"
_FLOAT, _UNSIGNED_SHORT, _UNSIGNED_INT = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {2: "VEC2", 3: "VEC3", 4: "VEC4"}


def _padded(data: bytes, fill: bytes) -> bytes:
    return data + fill * (-len(data) % 4)


class GlbBuffer:
    """The buffer of a GLB file and the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def add_view(self, data: bytes, **fields: object) -> int:
        """Append bytes and return the index of their view."""
        self.data += b"\0" * (-len(self.data) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **fields})
        self.data += data
        return len(self.views) - 1

    def add_vertices(self, values: np.ndarray, with_bounds: bool = False) -> int:
        """Append a vertex attribute `[N, 2..4]` as float32 and return the index of its accessor."""
        values = np.ascontiguousarray(values, "<f4")
        accessor = {
            "bufferView": self.add_view(values.tobytes(), target=_ARRAY_BUFFER),
            "componentType": _FLOAT,
            "count": len(values),
            "type": _TYPES[values.shape[1]],
        }
        if with_bounds:
            accessor.update(min=values.min(axis=0).tolist(), max=values.max(axis=0).tolist())
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_indices(self, indices: np.ndarray) -> int:
        """Append the indices of triangles, in 16 bits where they fit, and return the index of their accessor."""
        # The largest 16-bit number is no index: it restarts a strip.
        is_short = int(indices.max()) < 0xFFFF
        data = np.ascontiguousarray(indices, "<u2" if is_short else "<u4").tobytes()
        self.accessors.append(
            {
                "bufferView": self.add_view(data, target=_ELEMENT_ARRAY_BUFFER),
                "componentType": _UNSIGNED_SHORT if is_short else _UNSIGNED_INT,
                "count": len(indices),
                "type": "SCALAR",
            }
        )
        return len(self.accessors) - 1


def glb_bytes(document: dict, buffer: GlbBuffer) -> bytes:
    """Return a GLB file of a document, to which buffer, views and accessors are added."""
    document = {
        **document,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    chunks = b"".join(
        struct.pack("<I4s", len(data), kind) + data
        for kind, data in ((_JSON, _padded(text, b" ")), (_BIN, _padded(bytes(buffer.data), b"\0")))
    )
    return struct.pack("<4s2I", _MAGIC, _VERSION, 12 + len(chunks)) + chunks
