"""The viewer as a folder that any web server hosts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tqdm import tqdm

from reporting.console import say
from runtime.viewer.site import Site
from utils.errors import UserError
from utils.files import require_writable_folder, write_bytes


def write_static(site: Site, folder: Path) -> int:
    """Write every address of a site as a file into `folder`, made where needed, and return how many there are.

    A source that cannot be made is left out with a line; the page then says the same. Raises `UserError` where the
    folder cannot be written, or holds a folder `materials` that no viewer wrote.
    """
    require_writable_folder(folder)
    if (folder / "materials.json").is_file():
        # Images of an earlier material may not stay in a folder that is published.
        shutil.rmtree(folder / "materials", ignore_errors=True)
    elif (folder / "materials").exists():
        raise UserError(
            f"{folder / 'materials'} is not of an earlier viewer and would be mixed with it; name another folder"
        )
    written, missing = 0, set()
    # The description of a material adds its decoder's files to the list, and names the sources that could not be made.
    descriptions = [name for name in site.contents if name.endswith("material.json")]
    for name in descriptions:
        site.contents[name]()
    names = [name for name in site.contents if name not in descriptions] + descriptions
    for name in tqdm(names, desc="writing", unit="file", file=sys.stderr, disable=None):
        try:
            data = site.contents[name]()
        except UserError as error:
            missing.add(str(error))
            continue
        write_bytes(folder / name, data)
        written += 1
    for line in sorted(missing):
        say("note", line)
    return written
