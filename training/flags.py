"""The command line: one flag for each field of `configs.py`, presets, config files and what a checkpoint fixes."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path

from configs import (
    GRID_FLAGS,
    PRESETS,
    SECTIONS,
    VERSION,
    Config,
    ConfigError,
    HashGridConfig,
    ModelConfig,
    RunConfig,
    config_from_dict,
    config_to_dict,
    section_from_dict,
    validate,
)
from training.combinations import refuse_ineffective
from utils.arguments import OneLineParser
from utils.errors import UsageError
from utils.files import read_json

RECORD_KEYS = ("lineage", "version")
"""What a run's config.json holds beside the settings."""
Layer = dict[str, dict[str, object]]
"""Settings of one source (preset, config file, flags) by section."""


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


class BoolAction(argparse.Action):
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
            raise argparse.ArgumentTypeError(
                f"not valid JSON ({error}); quote it, or give the name of a JSON file"
            ) from error
    return read_json(text)


def _or_none(plain: type) -> Callable[[str], object]:
    """Return a reader of values of a plain type that takes `none` too."""

    def read(text: str) -> object:
        return None if text.lower() == "none" else plain(text)

    read.__name__ = plain.__name__
    return read


def _argument(annotation: typing.Any) -> dict[str, typing.Any]:
    """Return how argparse reads a value of a field's type: its action, or its type, metavar and choices."""
    optional = False
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = arguments[0]
        elif origin in (typing.Union, types.UnionType):
            optional, annotation = True, next(part for part in arguments if part is not type(None))
        else:
            break
    if annotation is bool:
        return {"action": BoolAction}
    if origin in (list, dict):
        return {"type": _json_or_file, "metavar": "JSON"}
    plain = type(arguments[0]) if origin is typing.Literal else annotation
    return {
        "type": _or_none(plain) if optional else plain,
        "metavar": plain.__name__.upper(),
        **({"choices": arguments} if origin is typing.Literal else {}),
    }


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; a flag that is not given leaves no trace in the namespace."""
    parser = OneLineParser(
        prog="train.py",
        description="Compress a PBR material into a neural texture.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120),
    )
    parser.add_argument("--version", action="version", version=f"neural-texture {VERSION}", help="print the version")

    def add(group: argparse._ArgumentGroup, flag: str, entry: typing.Any) -> None:
        shown = "" if entry.default_factory or entry.default is None else f" (default {entry.default})"
        argument = _argument(entry.annotation)
        choices = [str(choice) for choice in argument.get("choices", ())]
        text = " ".join(entry.description.split()) + shown
        if not all(choice in text for choice in choices):
            text += f"; one of {', '.join(choices)}"
        group.add_argument(f"--{flag}", help=text.replace("%", "%%"), **argument)

    for name, section in SECTIONS.items():
        group = parser.add_argument_group(name, section.__doc__)
        for flag, entry in section.__pydantic_fields__.items():
            add(group, flag, entry)
    group = parser.add_argument_group("all grids", "Set one field of every grid.")
    grid: typing.Any = HashGridConfig
    for flag, name in GRID_FLAGS.items():
        add(group, flag, grid.__pydantic_fields__[name])
    return parser


def parse_flags(argv: list[str] | None = None) -> dict[str, object]:
    """Return the flags that were given, by name; raises `UsageError` with one line where they cannot be read."""
    return vars(build_parser().parse_args(argv))


def _flag_layer(flags: dict[str, object]) -> Layer:
    """Sort flags into the sections they belong to, grid flags left out; raises `ConfigError` for an unknown one."""
    fields = {field.name: name for name, section in SECTIONS.items() for field in dataclasses.fields(section)}
    layer: Layer = {}
    for name, value in flags.items():
        if name in fields:
            layer.setdefault(fields[name], {})[name] = value
        elif name not in GRID_FLAGS:
            near = difflib.get_close_matches(name, [*fields, *GRID_FLAGS], 1)
            raise ConfigError(
                f"unknown setting {name!r}; "
                + (f"did you mean {near[0]}?" if near else "")
                + " python train.py --help lists all"
            )
    return layer


def read_config_file(flags: dict[str, object]) -> tuple[Layer, bool]:
    """Return the sections of the file that `--config` names and whether it is the record of a run.

    No sections where the flag is missing; raises `UsageError` where the file holds something else. A run's config.json
    says what was done as well as how: of its `run` section only the preset and the folders count.
    """
    if not flags.get("config"):
        return {}, False
    values: typing.Any = read_json(str(flags["config"]))
    is_record = isinstance(values, dict) and any(key in values for key in RECORD_KEYS)
    if is_record:
        values = {name: section for name, section in values.items() if name not in RECORD_KEYS}
    if not isinstance(values, dict) or not all(isinstance(section, dict) for section in values.values()):
        raise UsageError(f"{flags['config']} holds no sections; give an object like a run's config.json")
    if is_record:
        values = {**values, "run": _settings_of_run(values.get("run", {}))}
        recorded = values["run"].get("preset")
        if recorded and flags.get("preset", recorded) != recorded:
            raise UsageError(
                f"--preset {flags['preset']} contradicts {flags['config']}, the settings of a run with "
                f"preset {recorded}; leave one of them out"
            )
    return values, is_record


def _settings_of_run(run: dict[str, object]) -> dict[str, object]:
    """Return what another run can take over from a recorded `run` section."""
    return {name: run[name] for name in ("preset", "data_dir", "save_dir") if name in run}


def run_settings(flags: dict[str, object]) -> RunConfig:
    """Return what to do and where, of config file and flags alone; raises `UsageError` where a type is wrong."""
    values, _ = read_config_file(flags)
    try:
        return section_from_dict("run", {**values.get("run", {}), **_flag_layer(flags).get("run", {})})
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _merged(layers: Iterable[Layer]) -> Layer:
    """Overlay settings, later ones win.

    Where two settings exclude each other, the later layer decides: max_iter without a time_budget beside it takes an
    earlier time_budget away, a target rate an earlier target quality, and an optimiser of another name the learning
    rate that was recorded together with the earlier one.
    """
    merged: Layer = {}
    for layer in layers:
        train, before = layer.get("train", {}), merged.get("train", {})
        if "max_iter" in train and "time_budget" not in train:
            before.pop("time_budget", None)
        if train.get("optimizer", before.get("optimizer")) != before.get("optimizer") and "optimizer" in before:
            before.pop("learning_rate", None)
        model = layer.get("model", {})
        for name, other in (("target_bpp", "target_psnr"), ("target_psnr", "target_bpp")):
            if model.get(name) and other not in model:
                merged.get("model", {}).pop(other, None)
        for section, fields in layer.items():
            merged[section] = {**merged.get(section, {}), **fields}
    return merged


def _config_over(base: Layer, flags: dict[str, object]) -> Config:
    """Lay config file and flags over `base`; raises `ConfigError` or `UsageError` where they do not fit."""
    values, is_record = read_config_file(flags)
    config = config_from_dict(_merged([base, values, _flag_layer(flags)]))
    every = {GRID_FLAGS[name]: flags[name] for name in GRID_FLAGS if name in flags}
    if every:
        before = config.model.hash_grid_configs
        grids = [{**dataclasses.asdict(grid), **every} for grid in before]
        config = config_from_dict({"model": {"hash_grid_configs": grids}}, config)
        config.model.hash_grid_configs = [grid.with_fields(every) for grid in before]
    train = config.train
    if "max_iter" in flags and flags.get("time_budget"):
        raise ConfigError(
            f"--max_iter {train.max_iter} and --time_budget {train.time_budget:g} exclude each other; leave one out"
        )
    # A run's record must name its material from every working folder.
    config.run.data_dir = os.path.abspath(config.run.data_dir)
    by_hand = [] if is_record else [name for section in values.values() for name in section]
    config.given = frozenset([*flags, *by_hand])
    return config


def make_config(flags: dict[str, object]) -> Config:
    """Build a run's settings: defaults, preset, config file, flags; raises `UsageError` where they do not fit."""
    preset = run_settings(flags).preset
    try:
        config = _config_over(PRESETS[preset], flags)
        validate(config)
        refuse_ineffective(config)
        return config
    except ConfigError as error:
        raise UsageError(str(error)) from error


def resume_config(saved: Layer, flags: dict[str, object], checkpoint: Path) -> Config:
    """Overlay config file and flags on a checkpoint's settings; raises `UsageError` where they contradict its model.

    The model and what its training relies on stay as saved; where to read and write comes from the flags. A run that
    goes on draws by the seed of the checkpoint, and what is decoded alone draws nothing.
    """
    try:
        # Checkpoints from before there was a choice fell along a cosine.
        stored = config_from_dict(
            {
                **saved,
                "run": _settings_of_run(saved.get("run", {})),
                "train": {"learning_rate_schedule": "cosine", **saved.get("train", {})},
            }
        )
        config = _config_over(config_to_dict(stored), flags)
        fixed = [
            ("run", "preset"),
            ("quantize", "quantize"),
            ("train", "optimizer"),
            ("images", "normal_convention"),
            ("images", "opacity_as"),
            ("images", "mask"),
            *([("train", "seed")] if config.run.mode == "train" else []),
            *(("model", field.name) for field in dataclasses.fields(ModelConfig)),
        ]
        for section, name in sorted(fixed, key=lambda entry: entry[1] not in config.given):
            asked, trained = getattr(getattr(config, section), name), getattr(getattr(stored, section), name)
            if name == "hash_grid_configs":
                _check_same_grids(asked, trained, checkpoint)
            elif asked != trained:
                raise ConfigError(
                    f"--{name} {asked} contradicts {checkpoint}, trained with {name} {trained}; leave it out"
                )
        validate(config)
        return config
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _check_same_grids(asked: list[HashGridConfig], stored: list[HashGridConfig], checkpoint: Path) -> None:
    """Raise `ConfigError` where grids differ from a checkpoint's in more than their learning rate."""
    if len(asked) != len(stored):
        raise ConfigError(
            f"--hash_grid_configs has {len(asked)} grids, which contradicts {checkpoint}, trained with "
            f"{len(stored)}; leave it out"
        )
    for index, (ours, theirs) in enumerate(zip(asked, stored, strict=True)):
        for field in dataclasses.fields(HashGridConfig):
            new, old = getattr(ours, field.name), getattr(theirs, field.name)
            if field.name != "learning_rate" and new != old:
                raise ConfigError(
                    f"{field.name} {new} of grid {index} contradicts {checkpoint}, trained with "
                    f"{field.name} {old}; leave it out"
                )
