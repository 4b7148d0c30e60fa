"""Every setting of the toolkit: one dataclass per part, the presets, and the flags made from them.

Each field is a flag of the same name (`n_neurons` is `--n_neurons`). Order of precedence, later wins:
the defaults below, `--preset`, `--config FILE` (JSON), the flags on the command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import UsageError
from utils.files import read_json


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
    n_frequencies: int = 0
    """Octaves of the positional encoding; 0: none."""
    period_cells: int = 0
    """The encoding repeats within this many cells of grid 0; 0: once over the whole texture."""
    phases: int = 1
    """1, or 2: each octave a second time, a quarter period on."""
    n_neurons: int = 16
    """Width of the hidden layers."""
    n_hidden_layers: int = 1
    """Hidden layers; 0: a single linear layer."""
    activation: str = "leaky_relu"
    """Activation of the hidden layers."""
    output_activation: str = "none"
    """Activation of the last layer."""
    use_bias: bool = False
    """Biases in every layer (no tiny-cuda-nn, no UE5 plugin)."""
    network_precision: str = "float32"
    """float32 or float16: how the decoder's weights are stored."""
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
    batch_size: int = 16384
    """Texels in one step."""
    tile_size: int = 32
    """Side of the square tiles that are drawn, texels."""
    learning_rate: float = 0.03
    """Step size of the decoder."""
    learning_rate_final: float = 0.01
    """The cosine schedule ends at this fraction of every learning rate."""
    optimizer: str = "muon"
    """muon: orthogonalised momentum for the decoder's matrices; adam."""
    mip_floor: float = 0.02
    """Least share of the draws that each mip gets."""
    eval_interval: int = 1000
    """Iterations between two evaluations (PSNR of every mip)."""
    save_interval: int = 5000
    """Iterations between two checkpoints."""
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
