"""Every setting of the toolkit: one dataclass per part, the presets, and the flags made from them.

Each field is a flag of the same name (`n_neurons` is `--n_neurons`). Order of precedence, later wins:
the defaults below, `--preset`, `--config FILE` (JSON), the flags on the command line.
"""

from __future__ import annotations

import dataclasses
import os
import re
import reprlib
import typing
from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

VERSION = "0.3.0"
"""Version of the toolkit."""
TEXTURE_CHANNELS = {
    "diffuse": 3,
    "normal": 3,
    "roughness": 1,
    "occlusion": 1,
    "metallic": 1,
    "specular": 1,
    "displacement": 1,
}
"""The map types in canonical order, with their numbers of channels."""
N_CHANNELS = sum(TEXTURE_CHANNELS.values())
"""Channels of the canonical layout; missing maps keep their place."""
TextureType = Literal["diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement"]
Activation = Literal[
    "none",
    "relu",
    "leaky_relu",
    "hard_swish",
    "hard_gelu",
    "gelu",
    "silu",
    "exponential",
    "sine",
    "sigmoid",
    "squareplus",
    "softplus",
    "tanh",
]
ACTIVATION_NAMES = typing.get_args(Activation)
"""Activations that a layer can have, under tiny-cuda-nn's names in lower case."""
QuantizeBits = Literal[2, 4, 8, 16]
QUANTIZE_BITS = typing.get_args(QuantizeBits)
"""Bits that all features of a grid can have."""
FeatureBits = Literal[1, 2, 3, 4, 5, 6, 7, 8, 16]
FEATURE_BITS = typing.get_args(FeatureBits)
"""Bits that a single feature can have."""
Interpolation = Literal["bilinear", "gather"]
Storage = Literal["rgba8", "true_rate", "packed", "packed_rgba8"]
STORAGES = typing.get_args(Storage)
"""Ways to store codes in texture files."""
DiffuseSpace = Literal["linear", "srgb"]
DIFFUSE_SPACES = typing.get_args(DiffuseSpace)
"""Codings of the network's diffuse output."""
NormalConvention = Literal["keep", "opengl", "directx"]
OpacityMap = Literal["none", "roughness", "occlusion", "metallic", "specular", "displacement"]
GRID_FLAGS = {
    "quantize_bits": "quantize_bits",
    "save_bits": "save_bits",
    "interpolation": "interpolation",
    "grid_learning_rate": "learning_rate",
}
"""Flags that set one field of every grid, and that field."""
LEARNING_RATES = {"muon": 0.03, "adam": 0.005}
"""Step size of the decoder by optimiser, where none is given."""


def _none_for_zero(value: object) -> object:
    """Read the 0 and "" of older settings and command lines as none."""
    return None if isinstance(value, (int, float, str)) and value in (0, "") and value is not False else value


def _checked_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda|cuda:\d+|mps", name):
        raise ValueError("choose auto, cpu, cuda, cuda:N or mps")
    return name


def _checked_shard(shard: str | None) -> str | None:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard or "1/1", re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError("give K/N, the K-th of N parts, such as 3/16; K is from 1 to N")
    return shard


def _possible_path(name: str) -> str:
    # A command line holds neither; JSON can.
    try:
        possible = b"\0" not in os.fsencode(name)
    except ValueError:
        possible = False
    if not possible:
        raise ValueError("it holds a character that no path can have; correct it")
    return name


_STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False)
Count = Annotated[int, Field(strict=True, ge=1)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]
OptionalCount = Annotated[Count | None, BeforeValidator(_none_for_zero)]
OptionalAmount = Annotated[Annotated[float, Field(strict=True, gt=0)] | None, BeforeValidator(_none_for_zero)]
OptionalText = Annotated[str | None, BeforeValidator(_none_for_zero)]
FilePath = Annotated[str, AfterValidator(_possible_path)]
OptionalPath = Annotated[FilePath | None, BeforeValidator(_none_for_zero)]


class ConfigError(ValueError):
    """A setting that cannot be right; the message names it, what was expected and what to do."""


# Plain objects of JSON stand for grids, which strictness would refuse; its numbers are strict by their types.
@dataclass(config={**_STRICT, "strict": False})
class HashGridConfig:
    """One multi-resolution feature grid; every mip of the texture reads one level of it."""

    max_resolution: OptionalCount = None
    """Finest level, texels per side; none: the power of two nearest to the texture's side / texels_per_cell."""
    texels_per_cell: Annotated[float, Field(strict=True, ge=1 / 64)] = 2.0
    """Used where max_resolution is none: texture texels per grid cell and side."""
    n_levels: OptionalCount = None
    """Levels, each half the one before; none: down to 4 texels a side, or as far as halving is exact."""
    quantize_bits: QuantizeBits = 8
    """Bits of one feature: 2, 4, 8 or 16."""
    save_bits: Literal[8, 16, 32, 64] = 32
    """Bits of one grid texel: 8, 16, 32 or 64; it has save_bits // quantize_bits features."""
    feature_bits: Annotated[list[FeatureBits], Field(min_length=1, max_length=256)] | None = None
    """Bits of each feature, 1 to 8 or 16, in place of quantize_bits and save_bits; stored packed. None: all alike."""
    texel_bits: Annotated[int, Field(ge=1, le=512)] | None = None
    """Bits of one grid texel, shared out among features as the material asks for, in place of all of the above; the
    planner then writes them to feature_bits."""
    learning_rate: NotNegative = 0.05
    """Step size of the features, in feature units (the whole range is about 1); with a linear decoder and curves the share
    of Newton's step."""
    interpolation: Interpolation = "bilinear"
    """bilinear: one hardware fetch blends four taps. gather: the network gets all four."""

    def with_fields(self, fields: dict[str, typing.Any]) -> HashGridConfig:
        """Return the grid with other fields; bits given for all features replace those that follow the material."""
        if not (self.texel_bits or self.feature_bits) or not {"quantize_bits", "save_bits"} & set(fields):
            return dataclasses.replace(self, **fields)
        bits = fields.get("quantize_bits") or self.quantize_bits
        total = fields.get("save_bits") or self.texel_bits or sum(self.bits)
        if "quantize_bits" not in fields:
            return dataclasses.replace(self, **fields, texel_bits=total, feature_bits=None)
        # As many as there is room for; none at all is said by the check of both flags.
        alike = [bits] * max(total // bits, 1)
        return dataclasses.replace(self, **fields, texel_bits=None, feature_bits=alike)

    @property
    def n_features(self) -> int:
        return len(self.bits)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each feature."""
        if self.feature_bits:
            return tuple(self.feature_bits)
        if self.texel_bits:
            # Until they are shared out: about as many features as materials ask for.
            singles = self.texel_bits // 5
            pairs = (self.texel_bits - singles) // 2
            return (2,) * pairs + (1,) * (self.texel_bits - 2 * pairs)
        return (self.quantize_bits,) * (self.save_bits // self.quantize_bits)


@dataclass(config=_STRICT)
class ModelConfig:
    """The function from (u, v, lod) to 11 channels."""

    hash_grid_configs: Annotated[list[HashGridConfig], Field(min_length=1)] = field(
        default_factory=lambda: [HashGridConfig(texels_per_cell=2), HashGridConfig(texels_per_cell=4)]
    )
    """The feature grids, as a JSON list on the command line or the name of a JSON file."""
    target_bpp: OptionalAmount = None
    """Choose grids that cost this many bits per texel on the material's size; grid flags hold beside it."""
    target_psnr: OptionalAmount = None
    """Find the smallest rate that reaches this overall PSNR of the finest mip, dB; grid flags hold beside it."""
    # Beyond 16 octaves a period is shorter than a texel of the largest texture.
    n_frequencies: Annotated[int, Field(ge=0, le=16)] = 0
    """Octaves of the positional encoding; 0: no encoding."""
    period_cells: OptionalCount = None
    """The encoding repeats within this many cells of grid 0; none: once over the whole texture."""
    phases: Literal[1, 2] = 1
    """1, or 2: each octave a second time, a quarter period on."""
    position_order: Annotated[int, Field(ge=0)] = 0
    """How the first layer depends on a texel's place in a gathered cell: Legendre polynomials up to this order; 0: it
    does not."""
    linear_order: Annotated[int, Field(ge=0, le=7)] | None = None
    """A linear decoder that the network corrects, whose weights depend on a texel's place in a gathered cell by Legendre
    polynomials up to this order; none: the network alone."""
    feature_curves: bool = False
    """Each feature goes through a cubic curve of its own before the decoder, so that its levels lie where its values
    are."""
    n_neurons: Count = 16
    """Width of the hidden layers."""
    n_hidden_layers: Annotated[int, Field(ge=0)] = 1
    """Hidden layers; 0: a single linear layer."""
    activation: Activation = "leaky_relu"
    """Activation of the hidden layers."""
    output_activation: Activation = "hard_swish"
    """Activation of the last layer."""
    use_bias: bool = False
    """Biases in every layer (no tiny-cuda-nn, no UE5 plugin)."""
    network_precision: Literal["auto", "float32", "float16", "int8"] = "float32"
    """How the decoder is stored: float32, float16, int8 (trained with its rounding), or auto: float16, but int8 where
    the decoder would cost over a twelfth of the grids."""
    wrap: bool = True
    """Grids wrap around (tiling materials); False: clamp (atlases)."""
    diffuse_space: DiffuseSpace = "linear"
    """linear: the network's diffuse output is linear light; srgb: it stays as coded in the file."""


@dataclass(config=_STRICT)
class QuantizeConfig:
    """Quantisation in the loop."""

    quantize: bool = True
    """Train on exactly the levels that are exported; False: round at the export alone."""
    noise_std: NotNegative = 1.0
    """Uniform noise before rounding, in half quantisation steps; 0: none."""
    noise_anneal_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The noise falls to zero at this fraction of max_iter."""


@dataclass(config=_STRICT)
class TrainConfig:
    """The optimisation."""

    max_iter: Count = 10000
    """Iterations, the absolute end, also when resuming."""
    time_budget: OptionalAmount = None
    """Fit the run to this many seconds instead of max_iter, without early stop; none: no clock."""
    batch_size: Count = 16384
    """Texels in one step."""
    tile_size: Count = 16
    """Side of the square tiles that are drawn, texels."""
    learning_rate: NotNegative | None = None
    """Step size of the decoder; where it is not given, 0.03 for muon and 0.005 for adam."""
    learning_rate_final: NotNegative = 0.01
    """The schedule ends at this fraction of every learning rate."""
    learning_rate_schedule: Literal["power", "cosine"] = "power"
    """How learning rates fall: power, the share of the run that is left to the power of 0.8; or cosine."""
    start: Literal["auto", "transform", "pca", "random"] = "auto"
    """transform: everything begins as a block transform coder in closed form, which needs a linear decoder; pca: latents
    begin as principal components of the texels; random: as small noise; auto: transform where it can, else pca."""
    optimizer: Literal["muon", "adam"] = "muon"
    """muon: orthogonalised momentum for the decoder's matrices; adam."""
    mip_floor: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.01
    """Least share of the draws that each mip gets."""
    eval_interval: Count = 1000
    """Iterations between two evaluations (PSNR of every mip)."""
    save_interval: Count = 5000
    """Iterations between two checkpoints."""
    keep_checkpoints: Count = 3
    """Checkpoints that are kept, the newest ones."""
    early_stop: bool = True
    """Stop when PSNR stalls."""
    early_stop_interval: Count = 5000
    """Iterations whose mean PSNR is compared with that of the same number before, a multiple of eval_interval; where it
    is not given, at most a fifth of max_iter."""
    early_stop_psnr_threshold: float = 0.01
    """Stop where the gain is below this, dB."""
    texture_loss_weights: dict[TextureType, NotNegative] = field(default_factory=dict)
    """Weight of a map in the loss, by type, 1 where not named; as JSON: {"normal": 2}."""
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] = 0
    """Seed of everything random."""
    deterministic: bool = False
    """Same seed, machine and threads, same bytes, or an error; excludes time_budget and backend tcnn."""
    backend: Literal["auto", "torch", "tcnn"] = "auto"
    """auto, torch or tcnn."""
    device: Annotated[str, AfterValidator(_checked_device)] = "auto"
    """auto, cpu, cuda, cuda:N (the GPU of that number) or mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the decoder while training: auto, float32 or bfloat16."""

    @model_validator(mode="after")
    def _complete(self) -> TrainConfig:
        if self.learning_rate is None:
            self.learning_rate = LEARNING_RATES[self.optimizer]
        return self


@dataclass(config=_STRICT)
class ExportConfig:
    """What is written at the end."""

    storage: Storage = "rgba8"
    """rgba8: every feature an 8-bit channel, what the plugin reads; true_rate: 4-bit features cost 4 bits; packed: bit
    fields of 32-bit words, any bits at their cost; packed_rgba8: these words as RGBA8 textures."""
    dds_mips: bool = True
    """All levels in the DDS; False: the finest alone."""
    report: bool = True
    """Write pictures and report.html at the end; False: the exported files alone."""
    compare_astc: bool = True
    """Say at the end where the run stands beside ASTC at the same bits, which takes seconds; with a time_budget and in
    batches only where it is given."""


@dataclass(config=_STRICT)
class RunConfig:
    """What to do and where."""

    mode: Literal["train", "infer"] = "train"
    """train or infer."""
    preset: Literal["ue5", "quality", "realtime", "fast", "mobile"] = "ue5"
    """ue5, quality, realtime, fast or mobile; any other flag overrides its fields."""
    config: OptionalPath = None
    """A JSON file of settings; of a run's config.json, its settings and folders, not what was done with them."""
    data_dir: FilePath = "data/test"
    """Folder of images, one material."""
    save_dir: FilePath = "outputs"
    """Folder of the runs."""
    load_dir: OptionalPath = None
    """A run folder, to resume or to infer from."""
    load_iter: int | None = None
    """The checkpoint's iteration; -1: the newest."""
    groups_batching: bool = False
    """Train every material below groups_batch_dir, at any depth."""
    groups_batch_dir: FilePath = "data_batch"
    """Folder of material folders."""
    groups_save_dir: FilePath = "save_batch"
    """Folder of one output folder per material, and of the summary."""
    groups_max_workers: Count = 1
    """Materials trained at once, each in a process of its own."""
    groups_verbose: bool = False
    """Show every material's full output; its log.txt has it in any case."""
    groups_resume: bool = False
    """Keep the materials that an earlier batch has finished and go on with the others from their checkpoints; those whose
    images or settings have changed are trained anew."""
    groups_engine: Literal["local", "ray"] = "local"
    """Where materials are trained: local, on this machine; ray, as tasks of a Ray cluster."""
    groups_ray_address: OptionalText = None
    """Ray cluster, such as 10.0.0.1:6379; none: RAY_ADDRESS, or without it, as with local, Ray on this
    machine alone."""
    groups_shard: Annotated[OptionalText, AfterValidator(_checked_shard)] = None
    """K/N: train every N-th material alone, from the K-th on, for N commands that share a batch; none: all."""


@dataclass(config=_STRICT)
class ImageConfig:
    """How the images of a material are read."""

    normal_convention: NormalConvention = "keep"
    """opengl or directx: green of a normal map of the other convention is turned over; keep: as in the file."""
    opacity_as: OpacityMap = "none"
    """The map, missing in the material, in whose place opacity is trained: roughness, occlusion, metallic, specular or
    displacement; it comes from an opacity file or the alpha of diffuse; none: alpha is ignored."""
    max_pixels: Count = 16384**2
    """Most pixels of an image that is read; larger ones are refused by their header."""
    mask: FilePath = "auto"
    """Texels that are used: none, all; FILE, an image, beside the maps or anywhere, all but its black (or transparent)
    ones; auto, all, but with wrap False not a plain background that the pixels show. Others carry almost no loss."""


@dataclass(config=_STRICT)
class Config:
    """All settings of a run, as `config.json` holds them."""

    run: RunConfig = field(default_factory=RunConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    images: ImageConfig = field(default_factory=ImageConfig)
    given: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of the flags, and of the fields of a config file written by hand, that were given; not recorded."""


SECTIONS: dict[str, typing.Any] = {
    "run": RunConfig,
    "model": ModelConfig,
    "quantize": QuantizeConfig,
    "train": TrainConfig,
    "export": ExportConfig,
    "images": ImageConfig,
}
"""The sections of `Config` by name."""

PRESETS: dict[str, dict[str, dict[str, object]]] = {
    "ue5": {},
    "quality": {
        "model": {
            "hash_grid_configs": [
                {"texels_per_cell": 4, "texel_bits": 64, "interpolation": "gather", "learning_rate": 2.0},
                {"texels_per_cell": 8, "texel_bits": 32, "interpolation": "bilinear", "learning_rate": 2.0},
            ],
            "n_frequencies": 2,
            "period_cells": 1,
            "phases": 2,
            "position_order": 1,
            "linear_order": 3,
            "feature_curves": True,
            "n_neurons": 64,
            "n_hidden_layers": 2,
            "activation": "hard_swish",
            "output_activation": "none",
            "use_bias": True,
            "network_precision": "auto",
            "diffuse_space": "srgb",
        },
        "quantize": {"noise_std": 0.0},
        "export": {"storage": "packed"},
    },
    "mobile": {
        "model": {
            "hash_grid_configs": [
                {"texels_per_cell": 2, "quantize_bits": 4, "save_bits": 32, "learning_rate": 0.1},
                {"texels_per_cell": 4, "quantize_bits": 4, "save_bits": 32, "learning_rate": 0.1},
            ],
            "output_activation": "none",
            "network_precision": "float16",
            "diffuse_space": "srgb",
        },
        "export": {"storage": "true_rate"},
    },
}
_REALTIME = {
    "hash_grid_configs": [{"texels_per_cell": 4, "texel_bits": 64, "interpolation": "gather", "learning_rate": 2.0}],
    "n_neurons": 32,
    "n_hidden_layers": 1,
}
PRESETS["realtime"] = {**PRESETS["quality"], "model": {**PRESETS["quality"]["model"], **_REALTIME}}
PRESETS["fast"] = {**PRESETS["quality"], "train": {"time_budget": 18.0}}
"""Named sets of fields, by section, over the defaults above."""

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
}
"""What a value should have been, by pydantic's name of the error."""


_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 80


def _shown(value: object) -> str:
    """Write a wrong value as Python would, cut where it is too long for a message."""
    return _shortened.repr(value)


def describe_invalid(error: ValidationError, section: str) -> str:
    """Return one line on the first thing wrong in a section: the setting, what was found, what is expected."""
    first = error.errors(include_url=False)[0]
    kind, found, limits = first["type"], first["input"], first.get("ctx", {})
    path = [part for part in first["loc"] if part != "[key]"]
    name, owner = _dotted(path), _dotted(path[:-1])
    if kind == "unexpected_keyword_argument":
        known = ", ".join(entry.name for entry in dataclasses.fields(HashGridConfig if owner else SECTIONS[section]))
        return f"unknown setting {_shown(path[-1])} in {owner or section}; known are {known}"
    if kind == "literal_error":
        choices = limits["expected"].replace("'", "")
        return (
            f"{owner} has {_shown(found)}; known are {choices}"
            if first["loc"][-1] == "[key]"
            else f"{name} is {_shown(found)}; choose {choices}"
        )
    if kind == "value_error":
        return f"{name} is {_shown(found)}; {limits['error']}"
    if kind == "too_short":
        return f"{name} is empty; give at least one"
    if kind == "finite_number":
        return f"{name} is {found}; give a finite number"
    for bound, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if bound in limits:
            return f"{name} is {_shown(found)}, expected {words} {limits[bound]}".removesuffix(".0")
    return (
        f"{name} is {_shown(found)}, expected {_EXPECTED.get(kind, first['msg'])}; correct it in the command line or the "
        "config file"
    )


def _dotted(path: list[str | int]) -> str:
    """Return a path of names and numbers as text, such as hash_grid_configs[0].save_bits."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def section_from_dict(section: str, values: dict[str, typing.Any]) -> typing.Any:
    """Build a section of `Config` from plain values; raises `ConfigError` with one line where they do not fit."""
    try:
        return SECTIONS[section](**values)
    except ValidationError as error:
        raise ConfigError(describe_invalid(error, section)) from error


def config_from_dict(values: dict[str, dict[str, object]], base: Config | None = None) -> Config:
    """Overlay nested plain values on `base` (the defaults where None) and return a new, checked `Config`."""
    merged = config_to_dict(base) if base else {}
    for section, fields in values.items():
        if section not in SECTIONS:
            raise ConfigError(f"unknown section {_shown(section)}; known are {', '.join(SECTIONS)}")
        if not isinstance(fields, dict):
            raise ConfigError(f"section {section} is {_shown(fields)}, expected an object of settings")
        merged[section] = {**merged.get(section, {}), **fields}
    sections: dict[str, typing.Any] = {name: section_from_dict(name, fields) for name, fields in merged.items()}
    return Config(**sections)


def config_to_dict(config: Config) -> dict[str, dict[str, object]]:
    """Return nested plain values, ready for JSON."""
    return {name: dataclasses.asdict(getattr(config, name)) for name in SECTIONS}


def early_stop_acts(train: TrainConfig) -> bool:
    """Whether a run can end before its last iteration."""
    return train.early_stop and train.time_budget is None


def effective_early_stop_interval(config: Config) -> int:
    """Return the interval that a new run uses: the one given by hand, else one at which early stop can act.

    That is at most a fifth of max_iter and a multiple of eval_interval, at least one. An interval other than the
    default comes from the record of a run and stays where it is a multiple.

    >>> effective_early_stop_interval(Config())
    2000
    >>> effective_early_stop_interval(Config(train=TrainConfig(max_iter=40000)))
    5000
    """
    train, default = config.train, TrainConfig.early_stop_interval
    given = "early_stop_interval" in config.given or train.early_stop_interval != default
    if not early_stop_acts(train) or given and train.early_stop_interval % train.eval_interval == 0:
        return train.early_stop_interval
    return max(min(default, train.max_iter // 5) // train.eval_interval, 1) * train.eval_interval


def compares_with_astc(config: Config) -> bool:
    """Whether a run ends with ASTC beside it: given by hand always, by default where nobody waits on the clock for it.

    >>> compares_with_astc(Config()), compares_with_astc(Config(train=TrainConfig(time_budget=60.0)))
    (True, False)
    """
    asked = "compare_astc" in config.given or not (config.train.time_budget or config.run.groups_batching)
    return config.export.compare_astc and asked


def validate(config: Config) -> None:
    """Check fields that depend on each other; raises `ConfigError` with one line that names both."""
    model, train = config.model, config.train
    if train.deterministic and train.time_budget:
        raise ConfigError(
            f"deterministic excludes time_budget {train.time_budget:g}, since how far a run gets in a time is never the "
            "same; give --max_iter in its place"
        )
    if model.target_bpp and model.target_psnr:
        raise ConfigError("target_bpp and target_psnr exclude each other; leave one out")
    for index, grid in enumerate(model.hash_grid_configs):
        if grid.feature_bits is None and grid.save_bits < grid.quantize_bits:
            raise ConfigError(
                f"save_bits {grid.save_bits} is less than quantize_bits {grid.quantize_bits} in grid "
                f"{index}: no feature would fit; raise save_bits or lower quantize_bits"
            )
    if model.linear_order is not None and not model.use_bias:
        raise ConfigError(f"linear_order {model.linear_order} needs use_bias True; give --use_bias, or leave it out")
    if model.linear_order is not None and model.output_activation != "none":
        raise ConfigError(
            f"linear_order {model.linear_order} needs output_activation none, and it is {model.output_activation}; "
            "change one of them"
        )
    if train.start == "transform" and (model.linear_order is None or not model.feature_curves):
        raise ConfigError("start transform needs linear_order and feature_curves; give both, or start pca")
    mixed = any(len(set(grid.bits)) > 1 or grid.bits[0] not in QUANTIZE_BITS for grid in model.hash_grid_configs)
    if config.export.storage not in ("packed", "packed_rgba8") and (mixed or model.feature_curves):
        raise ConfigError(
            f"{'feature_bits' if mixed else 'feature_curves'} needs storage packed or packed_rgba8, and it is "
            f"{config.export.storage}; change one of them"
        )
    if model.n_hidden_layers and model.n_neurons % 16:
        raise ConfigError(f"n_neurons is {model.n_neurons}; choose a multiple of 16 (tiny-cuda-nn's layout)")
    if (
        "early_stop_interval" in config.given
        and early_stop_acts(train)
        and train.early_stop_interval % train.eval_interval
    ):
        raise ConfigError(
            f"early_stop_interval {train.early_stop_interval} is not a multiple of eval_interval "
            f"{train.eval_interval}; change one of them"
        )
