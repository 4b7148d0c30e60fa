"""Every setting of the toolkit: one dataclass per part, the presets, and the flags made from them.

Each field is a flag of the same name (`n_neurons` is `--n_neurons`). Order of precedence, later wins:
the defaults below, `--preset`, `--config FILE` (JSON), the flags on the command line.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Literal

VERSION = "0.3.0"
"""Version of the toolkit."""
TEXTURE_CHANNELS = {"diffuse": 3, "normal": 3, "roughness": 1, "occlusion": 1, "metallic": 1, "specular": 1,
                    "displacement": 1}
"""The map types in canonical order, with their numbers of channels."""
N_CHANNELS = sum(TEXTURE_CHANNELS.values())
"""Channels of the canonical layout; missing maps keep their place."""
ACTIVATION_NAMES = ("none", "relu", "leaky_relu", "hard_swish", "hard_gelu", "gelu", "silu", "exponential", "sine",
                    "sigmoid", "squareplus", "softplus", "tanh")
"""Activations that a layer can have, under tiny-cuda-nn's names in lower case."""
QuantizeBits = Literal[2, 4, 8, 16]
QUANTIZE_BITS = typing.get_args(QuantizeBits)
"""Bits that a feature can have."""
Interpolation = Literal["bilinear", "gather"]
INTERPOLATIONS = typing.get_args(Interpolation)
"""Ways to read a grid's four taps."""
Storage = Literal["rgba8", "true_rate"]
STORAGES = typing.get_args(Storage)
"""Ways to store codes in texture files."""
DiffuseSpace = Literal["linear", "srgb"]
DIFFUSE_SPACES = typing.get_args(DiffuseSpace)
"""Codings of the network's diffuse output."""


class ConfigError(ValueError):
    """A setting that cannot be right; the message names it, what was expected and what to do."""


@dataclass
class HashGridConfig:
    """One multi-resolution feature grid; every mip of the texture reads one level of it."""

    max_resolution: int = 0
    """Finest level, texels per side; 0: the power of two nearest to the texture's side / texels_per_cell."""
    texels_per_cell: float = 2.0
    """Used where max_resolution is 0: texture texels per grid cell and side."""
    n_levels: int = 0
    """Levels, each half the one before; 0: down to 4 texels a side, or as far as halving is exact."""
    quantize_bits: int = 8
    """Bits of one feature: 2, 4, 8 or 16."""
    save_bits: int = 32
    """Bits of one grid texel: 8, 16, 32 or 64; it has save_bits // quantize_bits features."""
    learning_rate: float = 0.05
    """Step size of the features, in feature units (the whole range is about 1)."""
    interpolation: str = "bilinear"
    """bilinear: one hardware fetch blends four taps. gather: the network gets all four."""

    @property
    def n_features(self) -> int:
        return self.save_bits // self.quantize_bits


@dataclass
class ModelConfig:
    """The function from (u, v, lod) to 11 channels."""

    hash_grid_configs: list[HashGridConfig] = field(
        default_factory=lambda: [HashGridConfig(texels_per_cell=2), HashGridConfig(texels_per_cell=4)])
    """The feature grids, as a JSON list on the command line or the name of a JSON file."""
    target_bpp: float = 0.0
    """Choose grids that cost this many bits per texel on the material's size; 0: the grids as they are given."""
    target_psnr: float = 0.0
    """Find the smallest rate that reaches this overall PSNR of the finest mip, dB; 0: none."""
    n_frequencies: int = 0
    """Octaves of the positional encoding; 0: none."""
    period_cells: int = 0
    """The encoding repeats within this many cells of grid 0; 0: once over the whole texture."""
    phases: int = 1
    """1, or 2: each octave a second time, a quarter period on."""
    position_order: int = 0
    """How the first layer depends on a texel's place in a gathered cell: Legendre polynomials up to this order; 0: not."""
    n_neurons: int = 16
    """Width of the hidden layers."""
    n_hidden_layers: int = 1
    """Hidden layers; 0: a single linear layer."""
    activation: str = "leaky_relu"
    """Activation of the hidden layers."""
    output_activation: str = "hard_swish"
    """Activation of the last layer."""
    use_bias: bool = False
    """Biases in every layer (no tiny-cuda-nn, no UE5 plugin)."""
    network_precision: str = "float32"
    """How the decoder is stored: float32, float16, int8 (trained with its rounding), or auto: float16, but int8 where the
    decoder would cost over an eighth of the grids."""
    wrap: bool = True
    """Grids wrap around (tiling materials); False: clamp (atlases)."""
    diffuse_space: str = "linear"
    """linear: the network's diffuse output is linear light; srgb: it stays as coded in the file."""


@dataclass
class QuantizeConfig:
    """Quantisation in the loop."""

    quantize: bool = True
    """Train on exactly the levels that are exported; False: round at the export alone."""
    noise_std: float = 1.0
    """Uniform noise before rounding, in half quantisation steps; 0: none."""
    noise_anneal_fraction: float = 0.8
    """The noise falls to zero at this fraction of max_iter."""


@dataclass
class TrainConfig:
    """The optimisation."""

    max_iter: int = 10000
    """Iterations, the absolute end, also when resuming."""
    time_budget: float = 0.0
    """Fit the run to this many seconds instead of max_iter, without early stop; 0: no clock."""
    batch_size: int = 16384
    """Texels in one step."""
    tile_size: int = 16
    """Side of the square tiles that are drawn, texels."""
    learning_rate: float = 0.03
    """Step size of the decoder."""
    learning_rate_final: float = 0.01
    """The schedule ends at this fraction of every learning rate."""
    learning_rate_schedule: str = "power"
    """How learning rates fall: power, the share of the run that is left to the power of 0.8; or cosine."""
    start: str = "pca"
    """pca: latents begin as principal components of the texels; random: as small noise."""
    optimizer: str = "muon"
    """muon: orthogonalised momentum for the decoder's matrices; adam."""
    mip_floor: float = 0.01
    """Least share of the draws that each mip gets."""
    eval_interval: int = 1000
    """Iterations between two evaluations (PSNR of every mip)."""
    save_interval: int = 5000
    """Iterations between two checkpoints."""
    keep_checkpoints: int = 3
    """Checkpoints that are kept, the newest ones."""
    early_stop: bool = True
    """Stop when PSNR stalls."""
    early_stop_interval: int = 5000
    """Iterations whose mean PSNR is compared with that of the same number before; a multiple of eval_interval."""
    early_stop_psnr_threshold: float = 0.01
    """Stop where the gain is below this, dB."""
    texture_loss_weights: dict[str, float] = field(default_factory=dict)
    """Weight of a map in the loss, by type, 1 where not named; as JSON: {"normal": 2}."""
    seed: int = 0
    """Seed of everything random."""
    backend: str = "auto"
    """auto, torch or tcnn."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """Arithmetic of the decoder while training: auto, float32 or bfloat16."""


@dataclass
class ExportConfig:
    """What is written at the end."""

    storage: str = "rgba8"
    """rgba8: every feature an 8-bit channel, what the plugin reads; true_rate: 4-bit features cost 4 bits."""
    dds_mips: bool = True
    """All levels in the DDS; False: the finest alone."""
    report: bool = True
    """Write pictures and report.html at the end; False: the exported files alone."""


@dataclass
class RunConfig:
    """What to do and where."""

    mode: str = "train"
    """train or infer."""
    preset: str = "ue5"
    """ue5, quality, fast or mobile; any other flag overrides its fields."""
    config: str = ""
    """A JSON file of settings, for example a run's config.json."""
    data_dir: str = "data/test"
    """Folder of images, one material."""
    save_dir: str = "outputs"
    """Folder of the runs."""
    load_dir: str = ""
    """A run folder, to resume or to infer from."""
    load_iter: int | None = None
    """The checkpoint's iteration; -1: the newest."""
    groups_batching: bool = False
    """Train every sub-folder of groups_batch_dir."""
    groups_batch_dir: str = "data_batch"
    """Folder of material folders."""
    groups_save_dir: str = "save_batch"
    """Folder of one output folder per material."""
    groups_max_workers: int = 1
    """Materials trained at once."""
    groups_verbose: bool = False
    """Show every material's full output."""


@dataclass
class Config:
    """All settings of a run, as `config.json` holds them."""

    run: RunConfig = field(default_factory=RunConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    export: ExportConfig = field(default_factory=ExportConfig)


PRESETS: dict[str, dict[str, dict[str, object]]] = {
    "ue5": {},
    "quality": {
        "model": {
            "hash_grid_configs": [
                {"texels_per_cell": 4, "quantize_bits": 4, "save_bits": 64, "interpolation": "gather",
                 "learning_rate": 0.15},
                {"texels_per_cell": 16, "quantize_bits": 4, "save_bits": 32, "interpolation": "bilinear",
                 "learning_rate": 0.15}],
            "n_frequencies": 2, "period_cells": 1, "phases": 2, "position_order": 1, "n_neurons": 64, "n_hidden_layers": 3,
            "activation": "hard_swish", "output_activation": "none", "use_bias": True, "network_precision": "auto",
            "diffuse_space": "srgb"},
        "quantize": {"noise_std": 0.0},
        "export": {"storage": "true_rate"},
    },
    "mobile": {
        "model": {
            "hash_grid_configs": [
                {"texels_per_cell": 2, "quantize_bits": 4, "save_bits": 32, "learning_rate": 0.1},
                {"texels_per_cell": 4, "quantize_bits": 4, "save_bits": 32, "learning_rate": 0.1}],
            "output_activation": "none", "network_precision": "float16", "diffuse_space": "srgb"},
        "export": {"storage": "true_rate"},
    },
}
PRESETS["fast"] = {**PRESETS["quality"], "train": {"time_budget": 10.0}}
"""Named sets of fields, by section, over the defaults above."""

_CHOICES = {
    "quantize_bits": QUANTIZE_BITS, "save_bits": (8, 16, 32, 64), "interpolation": INTERPOLATIONS,
    "phases": (1, 2), "activation": ACTIVATION_NAMES, "output_activation": ACTIVATION_NAMES,
    "network_precision": ("auto", "float32", "float16", "int8"), "diffuse_space": DIFFUSE_SPACES,
    "optimizer": ("muon", "adam"),
    "start": ("pca", "random"), "learning_rate_schedule": ("power", "cosine"),
    "backend": ("auto", "torch", "tcnn"), "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "float32", "bfloat16"), "storage": STORAGES, "mode": ("train", "infer"),
    "preset": tuple(PRESETS),
}
_AT_LEAST = {
    "max_resolution": 0, "n_levels": 0, "n_frequencies": 0, "period_cells": 0, "position_order": 0, "n_neurons": 1,
    "n_hidden_layers": 0,
    "noise_std": 0, "max_iter": 1, "batch_size": 1, "tile_size": 1, "learning_rate": 0, "learning_rate_final": 0,
    "mip_floor": 0, "eval_interval": 1, "save_interval": 1, "keep_checkpoints": 1, "early_stop_interval": 1, "groups_max_workers": 1,
    "target_bpp": 0, "target_psnr": 0, "time_budget": 0,
    # Finer cells would be far more grid texels than texels, at any size of texture.
    "texels_per_cell": 1 / 64,
}
# Beyond 16 octaves a period is shorter than a texel of the largest texture.
_AT_MOST = {"n_frequencies": 16}


def _check_type(name: str, value: object, expected: object) -> object:
    """Return `value` in the type a field is annotated with; raises `ConfigError` where it does not fit."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is list and isinstance(value, list):
        return [_check_type(name, item, arguments[0]) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: _check_type(f"{name}.{key}", item, arguments[1]) for key, item in value.items()}
    if dataclasses.is_dataclass(expected) and isinstance(value, dict):
        return section_from_dict(expected, value, name)
    if dataclasses.is_dataclass(expected) and isinstance(value, expected):
        return value
    if type(None) in arguments:
        return None if value is None else _check_type(name, value, arguments[0])
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, expected) and not (expected is int and isinstance(value, bool)):
        return value
    wanted = getattr(expected, "__name__", str(expected))
    raise ConfigError(f"{name} is {value!r}, expected {wanted}; correct it in the command line or the config file")


def section_from_dict(section: type, values: dict[str, object], where: str = "") -> object:
    """Build a settings dataclass from plain values; an unknown key or a wrong type raises `ConfigError`."""
    hints = typing.get_type_hints(section)
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown setting {key!r} in {where or section.__name__}; known are {', '.join(hints)}")
    return section(**{key: _check_type(key, value, hints[key]) for key, value in values.items()})


def config_from_dict(values: dict[str, dict[str, object]], base: Config | None = None) -> Config:
    """Overlay nested plain values on `base` (the defaults where None) and return a new, checked `Config`."""
    merged = config_to_dict(base or Config())
    for section, fields in values.items():
        if section not in merged:
            raise ConfigError(f"unknown section {section!r}; known are {', '.join(merged)}")
        merged[section] = {**merged[section], **fields}
    hints = typing.get_type_hints(Config)
    return Config(**{name: section_from_dict(hints[name], fields, name) for name, fields in merged.items()})


def config_to_dict(config: Config) -> dict[str, dict[str, object]]:
    """Return nested plain values, ready for JSON."""
    return dataclasses.asdict(config)


def validate(config: Config) -> None:
    """Check every field, and those that depend on each other; raises `ConfigError` with one line."""
    for section in (config.run, config.model, config.quantize, config.train, config.export,
                    *config.model.hash_grid_configs):
        for name, value in dataclasses.asdict(section).items():
            if name in _CHOICES and value not in _CHOICES[name]:
                raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(map(str, _CHOICES[name]))}")
            if name in _AT_LEAST and value < _AT_LEAST[name]:
                raise ConfigError(f"{name} is {value}, expected at least {_AT_LEAST[name]}")
            if name in _AT_MOST and value > _AT_MOST[name]:
                raise ConfigError(f"{name} is {value}, expected at most {_AT_MOST[name]}")
    if config.model.target_bpp and config.model.target_psnr:
        raise ConfigError("target_bpp and target_psnr exclude each other; leave one out")
    if not config.model.hash_grid_configs:
        raise ConfigError("hash_grid_configs is empty; give at least one grid")
    for index, grid in enumerate(config.model.hash_grid_configs):
        if grid.save_bits < grid.quantize_bits:
            raise ConfigError(f"save_bits {grid.save_bits} is less than quantize_bits {grid.quantize_bits} in grid "
                              f"{index}: no feature would fit; raise save_bits or lower quantize_bits")
    if config.model.n_hidden_layers and config.model.n_neurons % 16:
        raise ConfigError(f"n_neurons is {config.model.n_neurons}; choose a multiple of 16 (tiny-cuda-nn's layout)")
    train = config.train
    if train.early_stop and train.early_stop_interval % train.eval_interval:
        raise ConfigError(f"early_stop_interval {train.early_stop_interval} is not a multiple of eval_interval "
                          f"{train.eval_interval}; change one of them")
    if not 0 < config.quantize.noise_anneal_fraction <= 1:
        raise ConfigError(f"noise_anneal_fraction is {config.quantize.noise_anneal_fraction}; give a number in (0, 1]")
    for name, weight in train.texture_loss_weights.items():
        if name not in TEXTURE_CHANNELS or weight < 0:
            raise ConfigError(f"texture_loss_weights has {name!r}: {weight}; keys are {', '.join(TEXTURE_CHANNELS)}, "
                              "weights are 0 or more")
