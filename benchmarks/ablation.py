"""What each part of a preset is worth: `python -m benchmarks.ablation --data_dir DIR... --seconds 25 --out FILE.json`.

Every variant changes one thing of the preset and trains for the same time on the same machine, one after the other, or
with `--steps` for the same number of steps, whatever else the machine is doing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from baselines.hardware import hardware_name
from benchmarks.speed import in_process
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command
from utils.files import write_json

_FINE, _COARSE = (
    {"quantize_bits": 4, "learning_rate": 0.15, **grid}
    for grid in (
        {"texels_per_cell": 4, "save_bits": 64, "interpolation": "gather"},
        {"texels_per_cell": 16, "save_bits": 32, "interpolation": "bilinear"},
    )
)

VARIANTS: dict[str, dict[str, dict[str, object]]] = {
    "quality": {
        "preset as it is": {},
        "random start": {"start": "random"},
        "decoder stepped with Adam": {"optimizer": "adam", "learning_rate": 0.005},
        "cosine schedule": {"learning_rate_schedule": "cosine"},
        "diffuse in linear light": {"diffuse_space": "linear"},
        "2 hidden layers": {"n_hidden_layers": 2},
        "4 hidden layers": {"n_hidden_layers": 4},
        "silu": {"activation": "silu"},
        "gelu": {"activation": "gelu"},
        "hard_gelu": {"activation": "hard_gelu"},
        "no second phase": {"phases": 1},
        "period of 2 cells, 3 octaves": {"period_cells": 2, "n_frequencies": 3, "phases": 1},
        "plain first layer": {"position_order": 0},
        "first layer by place, order 2": {"position_order": 2},
        "8-bit weights": {"network_precision": "int8"},
        "coarse grid at 1/8": {"hash_grid_configs": [_FINE, {**_COARSE, "texels_per_cell": 8}]},
        "noise before rounding": {"noise_std": 1.0},
        "32 x 32 tiles": {"tile_size": 32},
        "8 x 8 tiles": {"tile_size": 8},
        "32768 texels a step": {"batch_size": 32768},
        "8192 texels a step": {"batch_size": 8192},
        "all grids bilinear": {"interpolation": "bilinear"},
        "cells of 3.9 texels": {
            "hash_grid_configs": [{**_FINE, "max_resolution": 264}, {**_COARSE, "max_resolution": 66}]
        },
        "float32": {"precision": "float32"},
    },
    "ue5": {
        "preset as it is": {},
        "random start": {"start": "random"},
        "decoder stepped with Adam": {"optimizer": "adam", "learning_rate": 0.005},
        "cosine schedule": {"learning_rate_schedule": "cosine"},
        "no output activation": {"output_activation": "none"},
        "no noise before rounding": {"noise_std": 0.0},
        "32 x 32 tiles": {"tile_size": 32},
        "32768 texels a step": {"batch_size": 32768},
        "both grids alike": {
            "hash_grid_configs": [
                {"max_resolution": 400, "learning_rate": 0.05},
                {"max_resolution": 408, "learning_rate": 0.05},
            ]
        },
    },
}
"""Per preset, variants by name: the flags they change."""


def main() -> int:
    parser = OneLineParser(prog="benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", nargs="+", required=True, type=Path, help="material folders")
    parser.add_argument("--preset", default="quality", choices=tuple(VARIANTS))
    parser.add_argument("--seconds", type=float, default=25.0, help="training clock of each variant, s")
    parser.add_argument("--steps", type=int, default=0, help="train for so many steps instead, whatever they take")
    parser.add_argument("--variants", nargs="*", default=None, help="names; default: all")
    parser.add_argument("--out", required=True, help="JSON file for the results")
    options = parser.parse_args()
    variants = VARIANTS[options.preset]
    unknown = set(options.variants or ()) - set(variants)
    if unknown:
        raise UsageError(f"unknown variants {', '.join(sorted(unknown))}; known are {', '.join(variants)}")
    names = [name for name in variants if options.variants is None or name in options.variants]
    results = {
        "hardware": hardware_name(),
        "command": " ".join(["python -m benchmarks.ablation", *sys.argv[1:]]),
        "preset": options.preset,
        **({"steps": options.steps} if options.steps else {"seconds": options.seconds}),
        "runs": [],
    }
    folders = [folder.resolve() for folder in options.data_dir]
    print("| variant | " + " | ".join(folder.name for folder in folders) + " | bits per texel | step, ms |")
    print("|---|" + "---|" * (len(folders) + 2))
    for name in names:
        cells = []
        for folder in folders:
            run = in_process(
                "train",
                data_dir=folder,
                preset=options.preset,
                seconds=options.seconds,
                steps=options.steps,
                look=0,
                flags=json.dumps(variants[name]),
            )
            results["runs"].append({"variant": name, **run})
            cells.append(f"{run['psnr_db']:.2f}")
            write_json(options.out, results)
        print(f"| {name} | " + " | ".join(cells) + f" | {run['bpp']:.2f} | {run['step_ms']:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)
