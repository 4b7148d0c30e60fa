"""The command line: one flag for each field of `configs.py`, presets, config files and what a checkpoint fixes."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import math
import re
import typing
from pathlib import Path

import configs
from configs import Config, ConfigError, HashGridConfig
from utils.arguments import OneLineParser
from utils.errors import UsageError
from utils.files import read_json

GRID_FLAGS = {"quantize_bits": int, "save_bits": int, "interpolation": str, "grid_learning_rate": float}
"""Flags that set one field of every grid."""


def parse_bool(text: str) -> bool:
    """Read True / False in any case.

    >>> parse_bool("False"), parse_bool("true")
    (False, True)
    """
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


class _BoolAction(argparse.Action):
    """`--flag`, `--flag True`, `--flag False` and `--no-flag`."""

    def __init__(self, option_strings, dest, **kwargs):
        name = option_strings[0][2:]
        super().__init__([*option_strings, f"--no-{name}", f"--no_{name}"], dest, nargs="?", metavar="BOOL", **kwargs)

    def __call__(self, parser, namespace, value, option_string=None):
        negated = option_string.startswith(("--no-", "--no_"))
        if negated and value is not None:
            parser.error(f"{option_string} takes no value")
        try:
            setattr(namespace, self.dest, not negated if value is None else parse_bool(value))
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument {option_string}: {error}")


def _json_or_file(text: str) -> object:
    """Read JSON given on the spot or as the name of a file."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"not valid JSON ({error}); quote it, or give the name of a JSON file")
    return read_json(text)


def _reject_non_finite(value: object, name: str) -> None:
    """Raise `ConfigError` where a number anywhere in nested plain values is infinite or NaN."""
    if isinstance(value, dict):
        for key, item in value.items():
            _reject_non_finite(item, key)
    elif isinstance(value, list):
        for item in value:
            _reject_non_finite(item, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; give a finite number")


def field_comments(section: type) -> dict[str, str]:
    """Return the docstring that stands below each field of a settings dataclass, for `--help`."""
    import inspect
    body = ast.parse(inspect.getsource(section)).body[0].body
    return {field.target.id: re.sub(r"\s+", " ", note.value.value) for field, note in zip(body, body[1:])
            if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr)}


def sections() -> dict[str, type]:
    """Return the sections of `Config` by name."""
    return typing.get_type_hints(Config)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; a flag that is not given leaves no trace in the namespace."""
    parser = OneLineParser(prog="train.py", description="Compress a PBR material into a neural texture.",
                     argument_default=argparse.SUPPRESS, allow_abbrev=False,
                     formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120))
    defaults = Config()
    for name, section in sections().items():
        group = parser.add_argument_group(name, section.__doc__)
        hints, comments = typing.get_type_hints(section), field_comments(section)
        for field in dataclasses.fields(section):
            kind = hints[field.name]
            default = getattr(getattr(defaults, name), field.name)
            shown = "" if isinstance(default, (list, dict)) or default in ("", None) else f" (default {default})"
            help_text = (comments.get(field.name, "") + shown).replace("%", "%%")
            flag = f"--{field.name}"
            if kind is bool:
                group.add_argument(flag, action=_BoolAction, help=help_text)
            elif typing.get_origin(kind) in (list, dict):
                group.add_argument(flag, type=_json_or_file, metavar="JSON", help=help_text)
            else:
                plain = next((k for k in typing.get_args(kind) if k is not type(None)), kind)
                group.add_argument(flag, type=plain, metavar=plain.__name__.upper(), help=help_text,
                                   choices=configs._CHOICES.get(field.name))
    group = parser.add_argument_group("all grids", "Set one field of every grid.")
    comments = field_comments(HashGridConfig) | {"grid_learning_rate": field_comments(HashGridConfig)["learning_rate"]}
    for name, kind in GRID_FLAGS.items():
        group.add_argument(f"--{name}", type=kind, metavar=kind.__name__.upper(), help=comments[name],
                           choices=configs._CHOICES.get(name))
    return parser


def parse_flags(argv: list[str] | None = None) -> dict[str, object]:
    """Return the flags that were given, by name; raises `UsageError` with one line where they cannot be read."""
    return vars(build_parser().parse_args(argv))


def _place(flags: dict[str, object]) -> dict[str, dict[str, object]]:
    """Sort flags into the sections they belong to; grid flags are left out."""
    return {name: {field.name: flags[field.name] for field in dataclasses.fields(section) if field.name in flags}
            for name, section in sections().items()}


def _apply_grid_flags(config: Config, flags: dict[str, object]) -> None:
    for name in GRID_FLAGS:
        if name in flags:
            for grid in config.model.hash_grid_configs:
                setattr(grid, "learning_rate" if name == "grid_learning_rate" else name, flags[name])


def read_config_file(flags: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return the sections of the file that `--config` names, none where the flag is missing.

    Raises `UsageError` where it holds something else. `lineage`, a record in a run's config.json, is left out.
    """
    if not flags.get("config"):
        return {}
    values = read_json(flags["config"])
    if isinstance(values, dict):
        values = {name: section for name, section in values.items() if name != "lineage"}
    if not isinstance(values, dict) or not all(isinstance(section, dict) for section in values.values()):
        raise UsageError(f"{flags['config']} holds no sections; give an object like a run's config.json")
    return values


def run_settings(flags: dict[str, object]) -> configs.RunConfig:
    """Return what to do and where, of config file and flags alone; raises `UsageError` where a type is wrong."""
    try:
        return configs.section_from_dict(configs.RunConfig, {**read_config_file(flags).get("run", {}),
                                                             **_place(flags)["run"]}, "run")
    except ConfigError as error:
        raise UsageError(str(error)) from error


def make_config(flags: dict[str, object]) -> Config:
    """Build a run's settings: defaults, preset, config file, flags; raises `UsageError` where they do not fit."""
    values = read_config_file(flags)
    try:
        preset = flags.get("preset", values.get("run", {}).get("preset", Config().run.preset))
        if not isinstance(preset, str) or preset not in configs.PRESETS:
            raise ConfigError(f"preset is {preset!r}; choose one of {', '.join(configs.PRESETS)}")
        config = configs.config_from_dict(configs.PRESETS[preset])
        config = configs.config_from_dict(values, config)
        config = configs.config_from_dict(_place(flags), config)
        _apply_grid_flags(config, flags)
        _reject_non_finite(configs.config_to_dict(config), "config")
        configs.validate(config)
        return config
    except ConfigError as error:
        raise UsageError(str(error)) from error


def resume_config(saved: dict[str, dict[str, object]], flags: dict[str, object], checkpoint: Path) -> Config:
    """Overlay config file and flags on a checkpoint's settings; raises `UsageError` where they contradict its model.

    The model and what its training relies on stay as saved; where to read and write comes from the flags.
    """
    values = read_config_file(flags)
    try:
        # Checkpoints from before there was a choice fell along a cosine.
        base = configs.config_from_dict({**saved, "train": {"learning_rate_schedule": "cosine", **saved["train"]}})
        config = configs.config_from_dict(values, base)
        config = configs.config_from_dict(_place(flags), config)
        _apply_grid_flags(config, flags)
        _reject_non_finite(configs.config_to_dict(config), "config")
        for section, name in [("run", "preset"), ("quantize", "quantize"), ("train", "optimizer"),
                              *(("model", field.name) for field in dataclasses.fields(configs.ModelConfig))]:
            asked, stored = getattr(getattr(config, section), name), getattr(getattr(base, section), name)
            if name == "hash_grid_configs":
                _check_same_grids(asked, stored, checkpoint)
            elif asked != stored:
                raise ConfigError(f"--{name} {asked} contradicts {checkpoint}, trained with {name} {stored}; "
                                  "leave it out")
        config.run.mode = flags.get("mode", values.get("run", {}).get("mode", "train"))
        configs.validate(config)
        return config
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _check_same_grids(asked: list[HashGridConfig], stored: list[HashGridConfig], checkpoint: Path) -> None:
    """Raise `ConfigError` where grids differ from a checkpoint's in more than their learning rate."""
    if len(asked) != len(stored):
        raise ConfigError(f"--hash_grid_configs has {len(asked)} grids, which contradicts {checkpoint}, trained with "
                          f"{len(stored)}; leave it out")
    for index, (ours, theirs) in enumerate(zip(asked, stored)):
        for field in dataclasses.fields(HashGridConfig):
            new, old = getattr(ours, field.name), getattr(theirs, field.name)
            if field.name != "learning_rate" and new != old:
                raise ConfigError(f"{field.name} {new} of grid {index} contradicts {checkpoint}, trained with "
                                  f"{field.name} {old}; leave it out")
