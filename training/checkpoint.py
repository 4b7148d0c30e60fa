"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint holds tensors and plain values alone and is read with `weights_only=True`, so a file from outside can
run no code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from utils.errors import UsageError, UserError, describe_os_error
from utils.files import written_aside

FORMAT = "neural-texture-checkpoint"
VERSION = 1


@dataclass
class Checkpoint:
    """One saved state of a run."""

    config: dict[str, dict[str, object]]
    """Nested plain values of `configs.Config`."""
    width: int
    height: int
    present: dict[str, bool]
    normal_convention: str
    iteration: int
    training_time_s: float
    grids: list[list[torch.Tensor]]
    """Master values [r, r, F] by grid and level, level 0 the coarsest, float32."""
    network: torch.Tensor
    """Canonical flat array, float32."""
    backend: str
    precision: str
    optimizer: dict[str, dict[str, torch.Tensor]]
    sampler: dict[str, object]
    noise_rng: torch.Tensor
    """State of the generator of the quantisation noise."""
    history: list[dict[str, float]]
    """Evaluations so far: iteration, psnr_db (overall, finest mip), time_s, loss."""
    lineage: list[str]
    """Run folders this run goes back to, the oldest first."""


def checkpoint_folder(run_dir: Path, iteration: int) -> Path:
    """Folder of one checkpoint and its exports."""
    return run_dir / "models" / f"train_result_{iteration}"


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write `model.pth` into `folder`, whole or not at all, and return its path."""
    path = folder / "model.pth"
    content = {"format": FORMAT, "version": VERSION, **vars(checkpoint)}
    with written_aside(path) as aside:
        try:
            torch.save(content, aside)
        except RuntimeError as error:
            # torch reports a full disk as a RuntimeError of its archive writer.
            raise UserError(f"could not write {path}: {str(error).splitlines()[0]}; is the disk full?") from error
    return path


def saved_iterations(run_dir: Path) -> list[int]:
    """Iterations of a run that have a checkpoint, ascending."""
    found = [(path.parent.name, path) for path in run_dir.glob("models/train_result_*/model.pth")]
    matches = [re.fullmatch(r"train_result_(\d+)", name) for name, _ in found]
    return sorted(int(match.group(1)) for match in matches if match)


def find_checkpoint(load_dir: str | Path, load_iter: int | None) -> Path:
    """Return the `model.pth` of iteration `load_iter` (-1 or None: the newest) of a run folder.

    Raises `UsageError` where the folder or the iteration does not exist, listing those that do.
    """
    run_dir = Path(load_dir)
    if not run_dir.is_dir():
        raise UsageError(f"load_dir {run_dir} is no folder; give a run folder such as outputs/2025-01-31-12-00-00")
    iterations = saved_iterations(run_dir)
    if not iterations:
        raise UsageError(f"{run_dir} holds no checkpoint (models/train_result_<iter>/model.pth); give a run folder")
    wanted = iterations[-1] if load_iter in (None, -1) else load_iter
    if wanted not in iterations:
        raise UsageError(f"load_iter {wanted} does not exist in {run_dir}; there are "
                         f"{', '.join(map(str, iterations))} (-1: the newest)")
    return checkpoint_folder(run_dir, wanted) / "model.pth"


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint; raises `UserError` where the file is damaged, foreign or of another version."""
    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    except Exception as error:  # damaged bytes fail in many ways, and no code of the file has run
        raise UserError(f"{path} is damaged or no checkpoint of this toolkit; load another iteration "
                        "or train anew") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of this toolkit; give a model.pth that train.py wrote")
    if content.get("version") != VERSION:
        raise UserError(f"{path} has checkpoint version {content.get('version')}, this toolkit reads {VERSION}; "
                        "use the toolkit that wrote it")
    fields = Checkpoint.__dataclass_fields__
    missing = [name for name in fields if name not in content]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; load another iteration or train anew")
    types = {"dict": dict, "list": list, "str": str, "int": int, "float": float, "torch.Tensor": torch.Tensor}
    for name, field in fields.items():
        if type(content[name]) is not types[field.type.split("[")[0]]:
            raise UserError(f"{path} is damaged: its {name} is of type {type(content[name]).__name__}; "
                            "load another iteration or train anew")
    return Checkpoint(**{name: content[name] for name in fields})
