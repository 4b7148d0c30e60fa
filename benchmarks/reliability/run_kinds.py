"""Damaged checkpoints and settings."""

from __future__ import annotations

import functools
import io
import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.reliability import structures
from benchmarks.reliability.caged import Kind
from benchmarks.reliability.damage import WRONG_VALUES, Structure, damaged_bytes, damaged_json, json_bytes, key_paths
from benchmarks.reliability.samples import texels

FLAGS = {
    "max_iter": 4,
    "eval_interval": 2,
    "save_interval": 4,
    "batch_size": 256,
    "tile_size": 8,
    "early_stop": False,
    "compare_astc": False,
    "report": False,
    "device": "cpu",
}
"""Settings of the run whose checkpoint and record are damaged."""


def write_run(folder: Path) -> None:
    """Train a tiny material for some steps, as a sample: `material`, `model.pth` and `config.json`."""
    from dataset import load_texture_set
    from training.flags import make_config
    from training.run import train

    material = folder / "material"
    material.mkdir(parents=True)
    Image.fromarray(texels()).save(material / "rock_albedo.png")
    Image.fromarray(texels(1, seed=1)[..., 0]).save(material / "rock_roughness.png")
    config = make_config({**FLAGS, "data_dir": str(material), "save_dir": str(folder / "runs")})
    export = train(config, texture_set=load_texture_set(material))
    shutil.copy(export / "model.pth", folder / "model.pth")
    shutil.copy(export.parent.parent / "config.json", folder / "config.json")


def make_checkpoint(samples: Path, folder: Path, chance: random.Random) -> None:
    """Write a checkpoint that is damaged as a file, as an archive or in what it holds, its hash then fitting again."""
    _whole("model.pth", samples, folder)
    data = (folder / "model.pth").read_bytes()
    way = chance.random()
    if way < 0.35:
        data = damaged_bytes(data, structures.ZIP, chance, [b"PK\3\4", b"\x80\x02}q\0."])
    elif way < 0.6:
        data = _rewritten_archive(data, chance)
    else:
        data = _other_content(data, chance)
    (folder / "model.pth").write_bytes(data)


def _rewritten_archive(data: bytes, chance: random.Random) -> bytes:
    """Return the archive with members whose bytes are damaged, that are packed, missing, doubled or renamed."""
    buffer, compression = io.BytesIO(), chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", compression) as target:
        names = source.namelist()
        hurt = chance.choice([name for name in names if name.endswith("data.pkl")] * 2 + names)
        for name in names:
            content = source.read(name)
            if name == hurt:
                action = chance.randrange(6)
                if action == 0:
                    continue
                if action == 1:
                    name = chance.choice(("../../outside", "/outside", "archive/../x", name.upper(), "a" * 300))
                else:
                    content = damaged_bytes(content, Structure(), chance)
            target.writestr(name, content)
    return buffer.getvalue()


def _other_content(data: bytes, chance: random.Random) -> bytes:
    """Return a checkpoint with one to three values changed, mostly with a hash that fits them."""
    import torch

    from training.checkpoint import content_hash

    content = torch.load(io.BytesIO(data), weights_only=True)
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = chance.choice(list(key_paths(content)))
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        if chance.random() < 0.1:
            del place[path[-1]]
        else:
            place[path[-1]] = chance.choice((*_wrong_tensors(place[path[-1]]), *chance.sample(WRONG_VALUES, 6)))
    if chance.random() < 0.9:
        try:
            content["sha256"] = content_hash(content)
        except Exception:
            # Values that cannot be hashed keep the old one.
            pass
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _wrong_tensors(value: Any) -> list[Any]:
    """Return tensors that could stand where `value` does: of other types and shapes, and some that are not dense."""
    import torch

    like = value if isinstance(value, torch.Tensor) else torch.zeros(3)
    return [
        torch.full_like(like, float("nan")) if like.is_floating_point() else like - like,
        like.to(torch.float64),
        like.to(torch.complex64),
        like.reshape(-1)[:-1].clone() if like.numel() else like,
        torch.zeros(0),
        torch.tensor(1.0),
        torch.zeros(1).expand(1 << 16, 1 << 16),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(3, device="meta"),
        like.clone().requires_grad_() if like.is_floating_point() else like,
    ]


def open_checkpoint(folder: Path, out: Path) -> None:
    """Load a checkpoint as the commands do, set a training up from it, and export it."""
    from dataset import load_texture_set
    from training.checkpoint import load_checkpoint
    from training.export_source import checkpoint_source
    from training.exporting import export_material
    from training.flags import resume_config
    from training.session import open_session

    path = folder / "model.pth"
    saved = load_checkpoint(path)
    config = resume_config(saved.config, {"max_iter": 100, "device": "cpu"}, path)
    open_session(config, load_texture_set(folder / "material"), saved, path)
    export_material(checkpoint_source(saved), out / "export")


def make_settings(samples: Path, folder: Path, chance: random.Random) -> None:
    """Write a damaged file of settings: a run's record, or sections as a user writes them."""
    _whole("config.json", samples, folder)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    if chance.random() < 0.7:
        values = {name: section for name, section in values.items() if name not in ("version", "lineage", "run")}
        if chance.random() < 0.6:
            name = chance.choice(list(values))
            values = {name: values[name]}
    (folder / "config.json").write_bytes(json_bytes(damaged_json(values, chance), chance))


def open_settings(folder: Path, _out: Path) -> None:
    """Read settings as `train.py --config` does, up to a model that is ready to be trained."""
    from dataset import load_texture_set
    from training.flags import make_config, parse_flags, read_config_file
    from training.session import open_session, planned_config

    path = str(folder / "config.json")
    flags = parse_flags(["--config", path, "--device", "cpu"])
    read_config_file(flags)
    config, textures = make_config(flags), load_texture_set(folder / "material")
    open_session(planned_config(config, textures), textures)


def _whole(name: str, samples: Path, folder: Path) -> None:
    shutil.copy(samples / "run" / name, folder / name)
    shutil.copytree(samples / "run" / "material", folder / "material")


KINDS = [
    Kind("checkpoint", make_checkpoint, open_checkpoint, 500, functools.partial(_whole, "model.pth")),
    Kind("settings", make_settings, open_settings, 700, functools.partial(_whole, "config.json")),
]
