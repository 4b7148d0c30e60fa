"""slangc, the Slang compiler of the package slangtorch: finding it and running it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from utils.errors import UserError

_TIME_LIMIT_S = 300


@cache
def slangc_path() -> Path:
    """Return the compiler's path: the package's, else the one in PATH; raises `UserError` with what to install."""
    # Importing the package would load torch.
    spec = importlib.util.find_spec("slangtorch")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for name in ("slangc", "slangc.exe"):
            path = Path(folder) / "bin" / name
            if path.is_file():
                return path
    found = shutil.which("slangc")
    if not found:
        raise UserError("shaders are compiled by slangc, which is not there: pip install slangtorch")
    return Path(found)


def compile_slang(
    sources: Mapping[str, str], target: str, entry: str | None, defines: Mapping[str, int], flags: Sequence[str] = ()
) -> bytes:
    """Compile Slang sources (file name to text; the first is the root) and return what slangc writes.

    Raises `UserError` where the compiler is missing or refuses the source, with its first message.
    """
    with tempfile.TemporaryDirectory(prefix="neural_texture_") as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        out = Path(folder) / "out"
        command = [os.fspath(slangc_path()), os.path.join(folder, next(iter(sources))), "-I", folder, "-target", target]
        command += ["-entry", entry, "-stage", "compute"] if entry else []
        command += ["-line-directive-mode", "none", *(f"-D{name}={value}" for name, value in defines.items()), *flags]
        try:
            result = subprocess.run(
                [*command, "-o", out], capture_output=True, encoding="utf-8", errors="replace", timeout=_TIME_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"slangc did not finish {target} in {_TIME_LIMIT_S} s; end other work, or use a smaller decoder"
            ) from None
        except OSError as error:
            raise UserError(
                f"{slangc_path()} cannot be run ({error}); pip install --force-reinstall slangtorch"
            ) from error
        if result.returncode or not out.is_file():
            message = next(
                (line for line in (result.stderr + result.stdout).splitlines() if "error" in line), "no message"
            )
            raise UserError(
                f"slangc cannot make {target} of this material: {message.strip()}; pip install -U slangtorch"
            )
        return out.read_bytes()
