"""Exports written once for all targets, and the table of the largest errors that were measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from tests.runtime.devices import require_slangc
from tests.runtime.exports import EXPORTS


@pytest.fixture(scope="session")
def slangc():
    """Skips where the Slang compiler is missing."""
    return require_slangc()


class Exports:
    """The readers of `EXPORTS`, each written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[str, NeuralTextureReader] = {}

    def __call__(self, name: str, storage: str | None = None) -> NeuralTextureReader:
        """Open the export of this name, repacked into another `storage` where one is given."""
        key = f"{name} as {storage}" if storage else name
        if key not in self._readers:
            folder = self._folder / f"export_{len(self._readers)}"
            if storage:
                repack_export(self(name).folder, folder, storage)
            else:
                EXPORTS[name](folder)
            self._readers[key] = NeuralTextureReader(folder)
        return self._readers[key]

    def readable(self, name: str) -> NeuralTextureReader:
        """Open an export, packed where its own formats are not read from buffers or by WebGPU."""
        reader = self(name)
        plain = all(
            grid["format"] != "B4G4R4A4_UNORM" and "16G16B16A16" not in grid["format"]
            for grid in reader.manifest["grids"]
        )
        return reader if plain else self(name, "packed")


@pytest.fixture(scope="session")
def exports(slangc, tmp_path_factory):
    return Exports(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="session")
def largest_errors():
    """Errors by target and export: printed at the end (`pytest -s`), and written to the file that the variable
    NEURAL_TEXTURE_ERRORS names."""
    errors: dict[str, dict[str, float]] = {}
    yield errors
    lines = [f"{target:28} {max(found.values()):.2e}  {max(found, key=found.get)}" for target, found in errors.items()]
    print("\nlargest error against the NumPy reader", *lines, sep="\n")
    if path := os.environ.get("NEURAL_TEXTURE_ERRORS"):
        Path(path).write_text(json.dumps(errors, indent=1), encoding="utf-8")
