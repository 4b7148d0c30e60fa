"""Command-line parsing whose errors are one line with exit code 2."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from typing import NoReturn

from utils.errors import UsageError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` instead of printing its usage and leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def command_path(path: str | os.PathLike) -> str:
    """Return a path as it must stand in a command line that is shown for copying.

    >>> command_path("outputs/2025-01-31-12-00-00")
    'outputs/2025-01-31-12-00-00'
    """
    if os.name == "nt":
        # All that separates words or commands in cmd or PowerShell.
        return f'"{path}"' if re.search(r"[\s&()\[\]{}^=;!'+,`~@$]", str(path)) else str(path)
    return shlex.quote(str(path))
