"""Uncompressed npz files: written so that equal arrays give equal bytes, read without trusting what they claim."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from utils.errors import UserError, describe_os_error
from utils.text import one_line

_HEADER_BYTES = 1 << 12
"""More than the header of a flat array takes."""


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an uncompressed npz that depends on the arrays alone, not on the clock or the operating system."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def read_flat_array(path: str | os.PathLike, name: str, dtype: str, most_bytes: int) -> np.ndarray:
    """Read one flat array of an npz file; its values may be read only.

    Nothing is allocated for what the file claims before it is known to hold it. Raises `UserError` where the file or
    the array is missing or damaged, holds more than `most_bytes`, or is not flat or of another type.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{name}.npy")
            if entry.file_size > most_bytes + _HEADER_BYTES:
                raise UserError(
                    f"{path} holds an array of {entry.file_size} bytes, expected {most_bytes}; "
                    "export the material again"
                )
            data = archive.read(entry)
        stream = io.BytesIO(data)
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("it is written in another version of the npy format")
        shape, _, stored = np.lib.format.read_array_header_1_0(stream)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    except KeyError:
        raise UserError(f"{path} holds no array {name!r}; export the material again") from None
    # An encrypted entry is a RuntimeError, an unknown compression a NotImplementedError.
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({one_line(str(error), 100)}); export the material again") from error
    if len(shape) != 1 or stored != np.dtype(dtype):
        raise UserError(
            f"{path} holds {stored} weights of shape {shape}, expected a flat {dtype} array; export the material again"
        )
    if len(data) - stream.tell() != shape[0] * stored.itemsize:
        raise UserError(f"{path} is damaged: its array {name!r} is not as long as it says; export the material again")
    return np.frombuffer(data, stored, offset=stream.tell())
