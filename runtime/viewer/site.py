"""What the viewer shows as a set of files by address, whether a server answers for them or a folder holds them."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from formats.bc7 import bc7_bytes
from formats.figures import stored_mips
from runtime.viewer.decoder import decoder_files
from runtime.viewer.images import make_source, missing_reason, packs_present, source_label
from runtime.viewer.materials import OpenedMaterial, short_labels
from utils.errors import UserError

PAGE = Path(__file__).resolve().parent / "page"
PAGE_SUFFIXES = (".html", ".css", ".js", ".wgsl", ".svg")
IMAGE_SOURCES = ("original", "bc7", "astc", "baked")
Content = Callable[[], bytes]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")


class Site:
    """Every address that may be asked for, and how its content is made; slow content is made once, when asked for.

    Used as a context manager: images that were made lie in a temporary folder until it closes.
    """

    def __init__(self, materials: Sequence[OpenedMaterial]) -> None:
        self.materials = list(materials)
        self._closing = ExitStack()
        self._cache = Path(
            self._closing.enter_context(tempfile.TemporaryDirectory(prefix="viewer-", ignore_cleanup_errors=True))
        )
        self._locks: dict[tuple[int, str], threading.Lock] = {}
        self._made: dict[tuple[int, str], dict | UserError] = {}
        self._decoders: dict[int, dict[str, bytes] | UserError] = {}
        self._decoder_lock = threading.Lock()
        self.contents: dict[str, Content] = {}
        """Content by address, relative to the page, without a query."""
        for path in sorted(PAGE.iterdir()):
            if path.suffix in PAGE_SUFFIXES:
                self.contents[path.name] = path.read_bytes
        self.contents["materials.json"] = self._list
        for number, material in enumerate(self.materials):
            self._add_material(number, material)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _list(self) -> bytes:
        return _json(
            [
                {"name": material.name, "run": material.run, "label": label, "folder": f"materials/{number}"}
                for number, (material, label) in enumerate(zip(self.materials, short_labels(self.materials)))
            ]
        )

    def _add_material(self, number: int, material: OpenedMaterial) -> None:
        folder = f"materials/{number}"
        self.contents[f"{folder}/material.json"] = lambda: self._material(number)
        for source in IMAGE_SOURCES:
            if missing_reason(source, material):
                continue
            self._locks[number, source] = threading.Lock()
            for name in ["figures.json", *(f"{pack}.png" for pack in packs_present(material.present))]:
                self.contents[f"{folder}/{source}/{name}"] = self._image_file(number, source, name)

    def _material(self, number: int) -> bytes:
        """Describe a material for the page; making its decoder, which this needs, adds the decoder's addresses."""
        material = self.materials[number]
        manifest, decoder = material.manifest, self._decoder(number)
        missing = {"neural": str(decoder) if isinstance(decoder, UserError) else ""}
        for source in IMAGE_SOURCES:
            made = self._made.get((number, source))
            missing[source] = str(made) if isinstance(made, UserError) else missing_reason(source, material)
        keys = ("width", "height", "wrap", "normal_convention", "channels", "bpp", "bpp_mips", "psnr")
        return _json(
            {key: manifest[key] for key in keys}
            | {
                "name": material.name,
                "run": " · ".join(filter(None, (material.preset, material.run))),
                "stored_mips": len(stored_mips(manifest)),
                "packs": packs_present(material.present),
                "bc7_bytes": bc7_bytes(material.manifest),
                "sources": [
                    {"id": source, "label": source_label(source, material), "missing": reason}
                    for source, reason in missing.items()
                ],
            }
        )

    def _decoder(self, number: int) -> dict[str, bytes] | UserError:
        with self._decoder_lock:
            if number not in self._decoders:
                try:
                    files = decoder_files(self.materials[number].folder)
                except UserError as error:
                    self._decoders[number] = error
                else:
                    self._decoders[number] = files
                    for name, data in files.items():
                        self.contents[f"materials/{number}/decoder/{name}"] = partial(bytes, data)
            return self._decoders[number]

    def _image_file(self, number: int, source: str, name: str) -> Content:
        def read() -> bytes:
            figures = self._source(number, source)
            return _json(figures) if name == "figures.json" else self._image_path(number, source, name).read_bytes()

        return read

    def _image_path(self, number: int, source: str, name: str) -> Path:
        return self._cache / f"{number}-{source}-{name}"

    def _source(self, number: int, source: str) -> dict:
        """Make the images of a source where that has not been done, and return its figures."""
        key = number, source
        with self._locks[key]:
            if key not in self._made:
                try:
                    images = make_source(source, self.materials[number])
                    for pack, data in images.files.items():
                        self._image_path(number, source, f"{pack}.png").write_bytes(data)
                    self._made[key] = images.figures
                except UserError as error:
                    self._made[key] = error
            made = self._made[key]
        if isinstance(made, UserError):
            raise made
        return made
