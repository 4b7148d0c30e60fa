"""Results of earlier runs on disk, so that a benchmark that is started again goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.errors import UserError
from utils.files import read_json, write_json, written_aside

if TYPE_CHECKING:
    from dataset import TextureSet

FIGURES_VERSION = 2
"""Of a record: raised when it gets a figure more, or one is taken in another way."""


class ResultCache:
    """Records and decoded maps of earlier runs, one pair of files per (material, codec, setting, mip)."""

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh

    def _paths(self, material: str, codec: str, setting: str, mip: int) -> tuple[Path, Path]:
        stem = self.folder / material / f"{codec}-{setting}{f'-mip{mip}' if mip else ''}"
        return stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".npz")

    def get(
        self,
        textures: TextureSet,
        codec: str,
        setting: str,
        run: Callable[[], tuple[dict, np.ndarray]],
        encoder: str | None = None,
        mip: int = 0,
    ) -> tuple[dict, bool]:
        """Return the record kept for this very material, or `run` the codec and keep its record and decoded maps.

        `textures` has the mip alone, where it is another than the finest. A kept record whose `encoder` is another one,
        or that names none where one is given, or whose figures were taken in another way, is not used. The second value
        tells whether it was kept before.
        """
        record_path, decoded_path = self._paths(textures.name, codec, setting, mip)
        if not self.fresh and record_path.is_file() and decoded_path.is_file():
            record = read_json(record_path)
            if isinstance(record, dict) and (
                record.get("fingerprint"),
                record.get("encoder"),
                record.get("figures_version"),
            ) == (textures.fingerprint, encoder, FIGURES_VERSION):
                return record, True
        record, decoded = run()
        with written_aside(decoded_path) as aside:
            np.savez_compressed(aside, decoded=decoded)
        write_json(record_path, record)
        return record, False

    def decoded(self, record: dict) -> np.ndarray:
        """Return the decoded mip of a record, uint8 `[H, W, 11]`; raises `UserError` where it is damaged."""
        path = self._paths(record["material"], record["codec"], record["setting"], record["mip"])[1]
        try:
            with np.load(path, allow_pickle=False) as archive:
                return archive["decoded"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{path} cannot be read ({error}); delete it and run the benchmark again") from error
