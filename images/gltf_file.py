"""glTF 2.0 files, .gltf and .glb: their JSON, checked, and the bytes of their images.

Geometry is not read: of a .glb the JSON chunk and what images take of the binary one.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, unquote_to_bytes

from pydantic import ValidationError

from images.gltf_schema import Buffer, BufferView, Document, Image, Material, Part
from images.paths import file_within, unique_name
from images.sources import SourceImage
from utils.errors import UserError, describe_os_error
from utils.invalid_values import error_message, shown

MOST_JSON_BYTES = 256 << 20
"""Largest JSON that is read; in a .gltf it may hold images as text."""
MOST_IMAGE_BYTES = 1 << 30
"""Largest image within a file that is read."""
_MOST_ENTRIES = 1 << 22
"""Entries of all lists and objects of the JSON: each takes many times the memory that it takes in the file."""
_MOST_CHUNKS = 64
_JSON, _BINARY = b"JSON", b"BIN\0"
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_OTHER_CONTAINERS = ("KHR_texture_basisu", "MSFT_texture_dds", "EXT_texture_avif")
"""Extensions that give a texture an image in a format that is not read."""

Extension = TypeVar("Extension", bound=Part)


class GltfFile:
    """An opened glTF file; `image` takes images out of it."""

    def __init__(self, path: Path, document: Document, binary: tuple[int, int] | None) -> None:
        """`binary`: where the binary chunk begins in the file, and its length in bytes."""
        self.path, self.document, self._binary = path, document, binary
        self._images: dict[int, SourceImage] = {}
        taken: set[str] = set()
        self._image_names = [
            unique_name(_image_name(index, image), taken) for index, image in enumerate(document.images)
        ]

    def image_index(self, texture_index: int) -> int:
        """Return the image of a texture; raises `UserError` where it is in a format that is not read."""
        texture = self._entry("textures", texture_index)
        webp = texture.extensions.get("EXT_texture_webp")
        source = webp.get("source") if isinstance(webp, dict) else None
        index = source if source is not None else texture.source
        if index is None:
            other = next((name for name in _OTHER_CONTAINERS if name in texture.extensions), None)
            cause = f"is stored by {other}, which is not read" if other else "has no image"
            raise UserError(
                f"texture {texture_index} of {self.path} {cause}; export the file with PNG or JPEG textures"
            )
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(self.document.images):
            raise UserError(
                f"{self.path} names the image {shown(index)} of {len(self.document.images)}; export the file again"
            )
        return index

    def image_name(self, index: int) -> str:
        """Return what messages call an image; no two images within the file have one name."""
        return self._image_names[index]

    def image_file(self, index: int) -> Path | None:
        """Return the file that an image lies in, None where it lies within this one.

        Raises `UserError` where that is not within the folder of this file.
        """
        uri = self.document.images[index].uri
        if uri is None or uri.startswith("data:"):
            return None
        return file_within(self.path.parent, unquote(uri), str(self.path))

    def image(self, index: int) -> SourceImage:
        """Take an image out; raises `UserError` where it is not there or is no PNG, JPEG or WebP."""
        if index not in self._images:
            self._images[index] = self._read_image(index)
        return self._images[index]

    def texture_name(self, index: int) -> str:
        """Return the name of a texture's image, "" where it has none that can be found."""
        if not 0 <= index < len(self.document.textures):
            return ""
        try:
            return self.image_name(self.image_index(index))
        except UserError:
            return f"texture {index}"

    def extension(self, material: Material, name: str, model: type[Extension]) -> Extension | None:
        """Return an extension of a material, checked; raises `UserError` where it is not what its definition says."""
        if name not in material.extensions:
            return None
        try:
            return model.model_validate(material.extensions[name])
        except ValidationError as error:
            raise UserError(
                f"{name} of a material in {self.path} is not valid ({_message(error.errors(include_url=False)[0])}); "
                "export the file again"
            ) from error

    def wraps(self, texture_index: int) -> bool:
        """Whether a texture goes on beyond its borders by repeating."""
        sampler = self._entry("textures", texture_index).sampler
        if sampler is None:
            return True
        found = self._entry("samplers", sampler)
        return found.wrapS == found.wrapT == 10497

    def _entry(self, part: str, index: int) -> Any:
        """Return an entry of one of the document's lists; raises `UserError` where it has none."""
        entries = getattr(self.document, part)
        if index >= len(entries):
            raise UserError(f"{self.path} names entry {index} of {len(entries)} in {part}; export the file again")
        return entries[index]

    def _read_image(self, index: int) -> SourceImage:
        image, name = self.document.images[index], self.image_name(index)
        external = self.image_file(index)
        if external:
            try:
                with external.open("rb") as file:
                    self._check_signature(file.read(16), name)
            except OSError as error:
                raise UserError(describe_os_error(error, external)) from error
            return SourceImage(external)
        if image.uri is not None:
            data = self._decoded(image.uri, name)
        elif image.bufferView is not None:
            data = self._view(image.bufferView, name)
        else:
            raise UserError(f"{name} in {self.path} has neither a file nor data; export the file again")
        self._check_signature(data[:16], name)
        return SourceImage(self.path, data, name)

    def _check_signature(self, start: bytes, name: str) -> None:
        if not start.startswith(_SIGNATURES) and not (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
            raise UserError(
                f"{name} in {self.path} is no PNG, JPEG or WebP image; export the file again with such textures"
            )

    def _view(self, index: int, name: str) -> bytes:
        """Return the bytes of a buffer view, read from where they lie."""
        view: BufferView = self._entry("bufferViews", index)
        buffer: Buffer = self._entry("buffers", view.buffer)
        if view.byteLength > MOST_IMAGE_BYTES:
            raise UserError(
                f"{name} in {self.path} has {view.byteLength >> 20} MiB, more than is read; make it smaller"
            )
        if view.byteOffset + view.byteLength > buffer.byteLength:
            raise self._beyond(name)
        if buffer.uri is not None and buffer.uri.startswith("data:"):
            data = self._decoded(buffer.uri, f"buffer {view.buffer}")
            data = data[view.byteOffset : view.byteOffset + view.byteLength]
        elif buffer.uri is not None:
            path = file_within(self.path.parent, unquote(buffer.uri), str(self.path))
            data = _read_part(path, view.byteOffset, view.byteLength)
        elif self._binary and view.byteOffset + view.byteLength <= self._binary[1]:
            data = _read_part(self.path, self._binary[0] + view.byteOffset, view.byteLength)
        else:
            raise self._beyond(name)
        if len(data) < view.byteLength:
            raise self._beyond(name)
        return data

    def _beyond(self, name: str) -> UserError:
        return UserError(
            f"{name} in {self.path} lies beyond the end of the data; the file is cut short, export it again"
        )

    def _decoded(self, uri: str, name: str) -> bytes:
        """Return the bytes of a data URI."""
        head, comma, body = uri.partition(",")
        try:
            if comma and head.endswith(";base64"):
                return base64.b64decode(unquote(body) if "%" in body else body, validate=True)
            if comma:
                return unquote_to_bytes(body)
        except (binascii.Error, ValueError):
            pass
        raise UserError(f"the data of {name} in {self.path} is damaged; export the file again")


def _image_name(index: int, image: Image) -> str:
    name = unquote(image.uri[:1000]) if image.uri and not image.uri.startswith("data:") else image.name or ""
    return "".join(sign if sign.isprintable() else "?" for sign in name[:100]) or f"image {index}"


def _read_part(path: Path, start: int, n_bytes: int) -> bytes:
    try:
        # A size that a file only claims to have costs no memory.
        n_bytes = min(n_bytes, os.path.getsize(path) - start)
        if n_bytes <= 0:
            return b""
        with path.open("rb") as file:
            file.seek(start)
            return file.read(n_bytes)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error


def open_gltf(path: Path) -> GltfFile:
    """Open a .gltf or .glb file and check its JSON; raises `UserError` where it is damaged or no glTF 2.0."""
    try:
        if not path.is_file():
            raise UserError(f"there is no file {path}; name a .glb or .gltf file")
        size = os.path.getsize(path)
        with path.open("rb") as file:
            start = file.read(12)
        if start[:4] == b"glTF":
            (json_start, json_bytes), binary = _chunks(path, start, size)
        else:
            json_start, json_bytes, binary = 0, size, None
        if json_bytes > MOST_JSON_BYTES:
            raise UserError(
                f"the JSON of {path} has {json_bytes >> 20} MiB, more than the {MOST_JSON_BYTES >> 20} that are read; "
                "save its images outside the JSON, for example as .glb"
            )
        data = _read_part(path, json_start, json_bytes)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > _MOST_ENTRIES:
        raise UserError(
            f"the JSON of {path} has over {_MOST_ENTRIES} entries; export fewer objects, or the materials alone"
        )
    try:
        document = Document.model_validate_json(data.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        raise UserError(
            f"{path} is no valid glTF file ({_message(error.errors(include_url=False)[0])}); export it again"
        ) from error
    version = document.asset.get("version")
    if not isinstance(version, str) or not re.fullmatch(r"2\.\d{1,3}", version):
        raise UserError(f"{path} is glTF {shown(version)}; glTF 2.0 is read, export it again as that")
    return GltfFile(path, document, binary)


def _chunks(path: Path, start: bytes, size: int) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Return where the JSON and the binary chunk of a .glb begin, and their lengths in bytes."""
    if len(start) < 12:
        raise UserError(f"{path} is cut short; export it again")
    _, version, length = struct.unpack("<4sII", start)
    if version != 2:
        raise UserError(f"{path} is glTF {version}; glTF 2.0 is read, export it again as that")
    if length > size:
        raise UserError(f"{path} is cut short, it has {size} of {length} bytes; export or copy it again")
    found: dict[bytes, tuple[int, int]] = {}
    position = 12
    for number in range(_MOST_CHUNKS):
        header = _read_part(path, position, 8)
        if len(header) < 8 or position >= length:
            break
        n_bytes, name = struct.unpack("<I4s", header)
        if number == 0 and name != _JSON or position + 8 + n_bytes > size:
            raise UserError(f"{path} is damaged, a part of it lies beyond its end; export it again")
        found.setdefault(name, (position + 8, n_bytes))
        position += 8 + n_bytes
    if _JSON not in found:
        raise UserError(f"{path} holds no JSON; export it again")
    return found[_JSON], found.get(_BINARY)


def _message(error: Mapping) -> str:
    """Say in one line where the JSON is wrong."""
    if error["type"] == "json_invalid":
        return shown(error["ctx"]["error"])[1:-1]
    return error_message(error)
