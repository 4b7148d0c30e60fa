"""Command-line parsing whose errors are one line with exit code 2."""

from __future__ import annotations

import argparse
from typing import NoReturn

from utils.errors import UsageError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` instead of printing its usage and leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")
