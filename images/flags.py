"""The flags on how images are read, for commands that have no others of `configs.py`."""

from __future__ import annotations

import argparse
import dataclasses
import typing

from configs import ConfigError, ImageConfig, section_from_dict
from utils.errors import UsageError


def add_image_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of `ImageConfig`, with its help, choices and default."""
    fields: typing.Any = ImageConfig
    for name, entry in fields.__pydantic_fields__.items():
        choices = typing.get_args(entry.annotation) if typing.get_origin(entry.annotation) is typing.Literal else None
        parser.add_argument(
            f"--{name}",
            type=type(entry.default),
            choices=choices,
            default=entry.default,
            metavar=type(entry.default).__name__.upper(),
            help=" ".join(entry.description.split()) + f" (default {entry.default})",
        )


def image_config(options: argparse.Namespace) -> ImageConfig:
    """Return the settings that the flags give; raises `UsageError` where a value cannot be used."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(ImageConfig)}
    try:
        return section_from_dict("images", values)
    except ConfigError as error:
        raise UsageError(str(error)) from error
