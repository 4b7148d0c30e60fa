"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint holds tensors and plain values alone and is read with `weights_only=True`, so a file from outside can
run no code. It carries the hash of its content, since the archive it is stored in is read without looking at its sums.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, ValidationError, create_model

from configs import ConfigError, config_from_dict
from training.archive import read_archive
from training.checkpoint_content import content_problem
from utils.errors import UsageError, UserError, describe_os_error
from utils.files import written_aside
from utils.invalid_values import error_message
from utils.text import one_line

FORMAT = "neural-texture-checkpoint"
VERSION = 2
"""Version 1 has neither `sha256` nor the fields of `Checkpoint` that have a default."""


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
    fingerprint: str = ""
    """`TextureSet.fingerprint` of the material; empty in files of version 1."""
    schedule: dict[str, Any] = field(default_factory=dict)
    """Fields of `training.schedule.Schedule`; empty in files of version 1."""
    map_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`TextureSet.map_facts` of the material; empty in files of earlier releases."""
    notices: list[str] = field(default_factory=list)
    """What whoever uses the model should know of its training; empty in files of earlier releases."""
    mask: str = ""
    """`Mask.digest` of the mask that was trained with; empty without one."""


def checkpoint_folder(run_dir: Path, iteration: int) -> Path:
    """Folder of one checkpoint and its exports."""
    return run_dir / "models" / f"train_result_{iteration}"


def _feed(digest: hashlib._Hash, value: object) -> None:
    """Hash nested plain values and tensors; two values hash alike only if they are the same, types included."""
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}\n".encode())
        for key, item in value.items():
            _feed(digest, key)
            _feed(digest, item)
    elif isinstance(value, (list, tuple)):
        digest.update(f"{type(value).__name__} {len(value)}\n".encode())
        for item in value:
            _feed(digest, item)
    else:
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)}\n".encode() + text)


def content_hash(content: dict[str, object]) -> str:
    """Return the SHA-256 of all entries of a checkpoint's content but `sha256` itself."""
    digest = hashlib.sha256()
    _feed(digest, {name: value for name, value in content.items() if name != "sha256"})
    return digest.hexdigest()


def _tensor_bytes(value: object) -> int:
    """Return what the tensors of nested plain values take."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_tensor_bytes, value)) if isinstance(value, (list, tuple)) else 0


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write `model.pth` into `folder`, whole or not at all, and return its path."""
    path = folder / "model.pth"
    content = {"format": FORMAT, "version": VERSION, **vars(checkpoint)}
    content["sha256"] = content_hash(content)
    with written_aside(path) as aside:
        try:
            torch.save(content, aside)
        except RuntimeError as error:
            # torch reports whatever keeps its archive writer from writing as a RuntimeError that does not name it.
            full = shutil.disk_usage(folder).free < _tensor_bytes(content)
            raise UserError(
                describe_os_error(OSError(errno.ENOSPC, ""), path)
                if full
                else f"could not write {path}: the disk took only a part of it; look for a quota or a limit of file "
                "sizes, or choose another folder"
            ) from error
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
        raise UsageError(
            f"load_iter {wanted} does not exist in {run_dir}; there are "
            f"{', '.join(map(str, iterations))} (-1: the newest)"
        )
    return checkpoint_folder(run_dir, wanted) / "model.pth"


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint; raises `UserError` where the file is damaged, foreign or of another version."""
    path = Path(path)
    try:
        content = read_archive(path)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    except ValueError as error:
        raise UserError(
            f"{path} is damaged or no checkpoint of this toolkit ({one_line(str(error), 120)}); load another iteration "
            "or train anew"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of this toolkit; give a model.pth that train.py wrote")
    if type(content.get("version")) is not int or content["version"] not in (1, VERSION):
        raise UserError(
            f"{path} has checkpoint version {one_line(str(content.get('version')), 40)}, this toolkit reads {VERSION}; "
            "use the toolkit that wrote it"
        )
    if content["version"] >= 2 and "sha256" not in content:
        raise UserError(damaged(path, "it has no content hash"))
    if "sha256" in content and content["sha256"] != content_hash(content):
        raise UserError(damaged(path, "its content does not match its hash"))
    values = {name: value for name, value in content.items() if name not in ("format", "version", "sha256")}
    try:
        _Fields.model_validate(values)
        config_from_dict(values["config"])
    except ValidationError as error:
        raise UserError(damaged(path, error_message(error.errors(include_url=False)[0]))) from error
    except ConfigError as error:
        raise UserError(
            f"{path} was written with other settings than this toolkit knows: {error}; use the toolkit that wrote it"
        ) from error
    checkpoint = Checkpoint(**values)
    problem = content_problem(checkpoint)
    if problem:
        raise UserError(damaged(path, problem))
    return checkpoint


def damaged(path: Path, problem: str) -> str:
    """Return one line for a checkpoint that cannot be used."""
    return f"{path} is damaged: {one_line(problem, 300)}; load another iteration or train anew"


_FIELDS: dict[str, Any] = {
    name: (hint, None if name in ("fingerprint", "schedule", "map_facts", "notices", "mask") else ...)
    for name, hint in typing.get_type_hints(Checkpoint).items()
}
_Fields = create_model(
    "Checkpoint", __config__=ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True), **_FIELDS
)
