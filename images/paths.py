"""Names that come from files: of other files, which have to lie within a folder, and of materials."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from utils.errors import UserError, describe_os_error
from utils.invalid_values import shown

LONGEST_NAME = 64
"""Characters of a material's name that an output folder is named by."""
_LONGEST_PATH = 1024
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d\u00b9\u00b2\u00b3])(\..*)?", re.IGNORECASE | re.DOTALL
)
"""Names that Windows keeps for devices, whatever follows a point."""


def file_within(folder: Path, name: str, named_by: str) -> Path:
    """Return the path of a file that another one names, `/` between folders; it has to lie within `folder`.

    Raises `UserError` where it does not, on this or on another system, or is no file; `named_by` says who names it.
    """
    problem = _problem(name)
    if problem:
        raise UserError(
            f"{named_by} names {shown(name)}, {problem}; name a file within {folder}, with / between folders"
        )
    path = folder / name
    try:
        if not path.is_file():
            other = _other_case(path)
            raise UserError(
                f"{named_by} names {shown(name)}, "
                + (
                    f"but the file is {shown(other)}; write it in the same case"
                    if other
                    else f"which is no file in {folder}"
                )
            )
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise UserError(
                f"{named_by} names {shown(name)}, a link that leads out of {folder}; copy the file itself there"
            )
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    return path


def _problem(name: str) -> str:
    """Say what keeps a name from being that of a file within a folder on any system, "" where nothing does."""
    if not name or len(name) > _LONGEST_PATH:
        return "which is no name of a file"
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        return "which holds control characters"
    if "\\" in name:
        return "which holds a backslash"
    if name.startswith("/") or ":" in name:
        return "which is an absolute path or an address"
    for part in name.split("/"):
        if part == "..":
            return "which leads out of its folder"
        if _RESERVED.fullmatch(part):
            return "which Windows keeps for a device"
        if part != "." and part.endswith((".", " ")):
            return "which Windows cannot store"
    return ""


def _other_case(path: Path) -> str:
    """Return the name in the same folder that differs from a path's in case alone, "" where there is none."""
    if not path.parent.is_dir():
        return ""
    names = sorted(set(os.listdir(path.parent)) - {path.name})
    return next((name for name in names if name.casefold() == path.name.casefold()), "")


def folder_name(name: str | None) -> str:
    """Return a material's name as that of a folder on any system; letters of all scripts are kept.

    >>> folder_name("wet/rock: 2?"), folder_name("nul"), folder_name(".. "), folder_name("\u5ca9\u77f3")
    ('wet_rock_2', 'nul_', 'material', '\u5ca9\u77f3')
    """
    kept = "".join(
        sign if unicodedata.category(sign)[0] != "C" and sign not in '<>:"/\\|?*#' else "_" for sign in name or ""
    )
    kept = re.sub(r"[_\s]*_[_\s]*", "_", kept).strip("._ \t\r\n")[:LONGEST_NAME].rstrip(". ")
    kept = kept.strip("_") or "material"
    # What follows a point does not make it another name.
    return re.sub(r"^[^.]*", r"\g<0>_", kept) if _RESERVED.fullmatch(kept) else kept


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name with the first number that makes it unique among `taken`, in any case; it is added there.

    >>> taken = {"rock"}
    >>> unique_name("Rock", taken), unique_name("rock", taken), unique_name("wood", taken)
    ('Rock_2', 'rock_3', 'wood')
    """
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate.casefold())
    return candidate
