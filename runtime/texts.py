"""Templates of the texts that are generated: sources, their pages, and engines' files."""

from __future__ import annotations

from pathlib import Path

import jinja2

_FOLDERS = [Path(__file__).parent / "templates", Path(__file__).parent / "engines" / "templates"]


def template(name: str, trim: bool = True) -> jinja2.Template:
    """Return one of the templates of `runtime/`; a name in it that is not given when it is rendered is an error.

    `trim`: lines that hold nothing but a block leave no trace. The filter `thousands` writes a number with commas.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDERS),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=trim,
        lstrip_blocks=trim,
    )
    environment.filters["thousands"] = "{:,}".format
    return environment.get_template(name)
