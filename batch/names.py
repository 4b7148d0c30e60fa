"""Folders of a batch's outputs: the groups' names, where needed changed into what every system can have."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

LONGEST = 120
"""Characters of one part of a path; systems take 255 bytes, and files have names below it."""
RUN_FOLDER = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d")
"""Names of run folders."""
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?=\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, with any suffix."""
_OWN = {"tensorboard", "group.json", "log.txt", "thumbnail.jpg"}
_OWN |= {"summary.json", "summary.csv", "summary.html"}
"""What a batch writes beside or below a group's folder."""


def _folder_name(part: str) -> str:
    """Return one part of a group's name as a folder name."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", part)
    name = re.sub(r"[. ]+$", lambda found: "_" * len(found[0]), name) or "_"
    name = _DEVICE.sub(r"\1_", name, count=1)
    if name.lower() in _OWN or RUN_FOLDER.fullmatch(name):
        name += "_"
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9]}_{hashlib.sha256(part.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return name


def output_folders(names: Sequence[str]) -> list[str]:
    """Return the output folder of each group below the batch's, with `/`: its name where every system can have that.

    No two are alike, in any case of letters.

    >>> output_folders(["wall", "old/aux", "a:b", "a?b", "dots..."])
    ['wall', 'old/aux_', 'a_b', 'a_b_2', 'dots___']
    """
    folders: list[str] = []
    taken: set[str] = set()
    for name in names:
        folder = "/".join(_folder_name(part) for part in name.split("/") if part) or "_"
        candidate, number = folder, 2
        while (key := unicodedata.normalize("NFC", candidate).casefold()) in taken:
            candidate, number = f"{folder}_{number}", number + 1
        taken.add(key)
        folders.append(candidate)
    return folders
