"""Archives of tensors, read without trusting what they claim: no code, no packed members, no tensor beyond the file."""

from __future__ import annotations

import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch

_MOST_PICKLE_BYTES = 1 << 23
"""What describes the tensors and holds all other values: some hundred thousand evaluations of a run."""
_MOST_VALUES = 1 << 21
"""Values that are looked at; a few bytes can repeat each other without end."""
_KNOWN_NAMES = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")
"""What an archive of plain values and dense tensors names."""
_STRANGE = ("INST", "OBJ", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER")
"""Operations of a pickle that name classes in other ways."""
_PLAIN = (str, int, float, bool, type(None))


def read_archive(path: Path) -> object:
    """Read what `torch.save` wrote of nested dicts, lists and tuples of plain values and dense tensors.

    Nothing is allocated beyond the size of the file. Raises `OSError` where it cannot be read and `ValueError` where it
    is damaged or holds anything else.
    """
    size = os.stat(path).st_size
    _check_members(path, size)
    try:
        with warnings.catch_warnings():
            # What torch thinks of damaged bytes would stand before the one line.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged bytes fail in many ways, and no code of the file has run
        raise ValueError("its tensors cannot be read") from error
    _check_values(content, size)
    return content


def _check_members(path: Path, size: int) -> None:
    """Look at an archive before torch does, which believes its sizes and unpacks what is packed."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
                raise ValueError("it has packed members, which torch.save does not write")
            if sum(member.file_size for member in members) > size:
                raise ValueError("its members are larger than the file")
            described = [member for member in members if member.filename.endswith("/data.pkl")]
            if len(described) != 1 or described[0].file_size > _MOST_PICKLE_BYTES:
                raise ValueError("it does not describe its tensors as torch.save does")
            for name in _named(archive.read(described[0])):
                if not _KNOWN_NAMES.fullmatch(name):
                    raise ValueError(f"it asks for {name[:80]!r}, which no checkpoint needs")
    except OSError:
        raise
    except ValueError:
        raise
    # A damaged directory fails in many ways.
    except Exception as error:
        raise ValueError(f"it is no archive of tensors: {error}") from error


def _named(pickled: bytes) -> Iterator[str]:
    """Yield the classes and functions that a pickle names, and whatever else `torch.save` does not write."""
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "GLOBAL":
            yield str(argument)
        elif operation.name in _STRANGE or (operation.name == "PROTO" and argument != 2):
            yield f"{operation.name} {argument}"


def _check_values(content: object, size: int) -> None:
    """Refuse values other than plain ones and dense tensors, and those that take more memory than the file."""
    waiting, tensor_bytes, count = [(content, 0)], 0, 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > _MOST_VALUES or depth > 16:
            raise ValueError("its values are nested too deeply, or too many")
        if isinstance(value, torch.Tensor):
            # What describes a tensor can repeat a single number to any shape.
            tensor_bytes += value.numel() * value.element_size()
            if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.requires_grad:
                raise ValueError("it holds a tensor that is not dense, or not plain")
            if tensor_bytes > size:
                raise ValueError("its tensors are larger than the file")
        elif isinstance(value, dict):
            waiting += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, (list, tuple)):
            waiting += [(item, depth + 1) for item in value]
        elif type(value) not in _PLAIN:
            raise ValueError(f"it holds a value of type {type(value).__name__}")
