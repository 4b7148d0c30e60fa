"""Every kind of write that the toolkit does, each in two versions that differ, to be tried on a disk that is full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Write:
    """One kind of write."""

    name: str
    run: Callable[[Path, Path, int], None]
    """Takes the folder of samples, the folder to write into and the version, 0 or 1."""
    together: bool = True
    """Whether its files belong together, so that none of them may change where one cannot be written."""
    slow: bool = False
    """Whether it takes some seconds."""
    goes_on: bool = False
    """Whether it says in a note that it failed, and goes on."""
    varies: bool = False
    """Whether its files hold the time, so that they are read rather than compared."""
    grows: bool = False
    """Whether it is a log, which is written as it grows and read up to its last whole event."""


def write_samples(folder: Path) -> None:
    """Write two runs, and two exports that differ in their weights."""
    from benchmarks.random_exports import make_source
    from benchmarks.reliability.run_kinds import write_run
    from training.exporting import export_material

    for version in range(2):
        export_material(make_source(64, 64, seed=version), folder / f"export_{version}")
    write_run(folder / "run")


def _export(samples: Path, version: int) -> Path:
    return samples / f"export_{version}"


def _checkpoint(samples: Path, folder: Path, version: int) -> None:
    from training.checkpoint import load_checkpoint, save_checkpoint

    saved = load_checkpoint(samples / "run" / "model.pth")
    saved.iteration += version
    saved.lineage = ["x" * 200] * 400
    save_checkpoint(saved, folder)


def _exported(samples: Path, folder: Path, version: int) -> None:
    from benchmarks.random_exports import make_source
    from training.exporting import export_material

    export_material(make_source(64, 64, seed=version), folder)


def _dds(samples: Path, folder: Path, version: int) -> None:
    from formats.dds import R8G8B8A8_UNORM, write_dds

    level = np.random.default_rng(version).integers(0, 256, (128, 128, 4)).astype(np.uint8)
    write_dds(folder / "hash_grid_0.dds", [level], 128, 128, R8G8B8A8_UNORM)


def _npz(samples: Path, folder: Path, version: int) -> None:
    from formats.npz import npz_bytes
    from utils.files import write_bytes

    weights = np.random.default_rng(version).normal(size=20_000).astype(np.float32)
    write_bytes(folder / "network_data.npz", npz_bytes({"network": weights}))


def _manifest(samples: Path, folder: Path, version: int) -> None:
    from formats.manifest import read_manifest, update_manifest
    from utils.files import write_json

    if not (folder / "manifest.json").exists():
        write_json(folder / "manifest.json", read_manifest(_export(samples, 0)))
    update_manifest(folder, {"notices": [str(version) * 100] * 500})


def _config(samples: Path, folder: Path, version: int) -> None:
    from utils.files import read_json, write_json

    write_json(folder / "config.json", {"settings": [read_json(samples / "run" / "config.json")] * 20, "run": version})


def _group_record(samples: Path, folder: Path, version: int) -> None:
    from batch.record import GroupRecord, write_record

    notices = [f"notice {version}"] * 2000
    write_record(folder, GroupRecord("wall", "materials/wall", "running", {}, {}, {}, notices=notices))


def _summary(samples: Path, folder: Path, version: int) -> None:
    """Summaries of a batch as JSON, as a table and as a page; what fails is written later."""
    from benchmarks.reliability.batch_kinds import ended_board, write_summary
    from configs import Config

    write_summary(ended_board(Config(), _export(samples, version), 40), folder)


def _repacked(samples: Path, folder: Path, version: int) -> None:
    from formats.repack import repack_export

    repack_export(_export(samples, version), folder, "packed")


def _pictures(samples: Path, folder: Path, version: int) -> None:
    from export import decode_to_pngs

    decode_to_pngs(_export(samples, version), folder)


def _baked(samples: Path, folder: Path, version: int) -> None:
    from formats.reader import NeuralTextureReader
    from runtime.bake.bake import bake

    bake(NeuralTextureReader(_export(samples, version)), folder, ["png", "bc5"], "rock", 0, None)


def _package(samples: Path, folder: Path, version: int) -> None:
    from formats.reader import NeuralTextureReader
    from runtime.engines.packages import write_packages

    write_packages(NeuralTextureReader(_export(samples, version)), folder, ["gltf"], "rock", "png")


def _shaders(samples: Path, folder: Path, version: int) -> None:
    from runtime.shader_files import write_shaders

    write_shaders(_export(samples, version), folder, ["wgsl"], None, "rock", False, True, False)


def _report(samples: Path, folder: Path, version: int) -> None:
    """The export, pictures and report of a run, as the command writes them."""
    import export

    (run,) = (samples / "run" / "runs").glob("2*")
    export.main(["--load_dir", str(run), "--report", "--out", str(folder), "--dds_mips", str(bool(version))])


def _log(samples: Path, folder: Path, version: int) -> None:
    """Events for TensorBoard; a full disk ends the log and never the run."""
    from dataset import load_texture_set
    from training.run_log import RunLog

    log = RunLog(folder / f"events_{version}", load_texture_set(samples / "run" / "material"))
    for iteration in range(2000):
        log.loss(iteration, 0.5)
        log.psnr(iteration, [30.0, 29.0])
    log.close()


WRITES = (
    Write("checkpoint", _checkpoint),
    Write("DDS", _dds),
    Write("npz", _npz),
    Write("manifest", _manifest),
    Write("settings", _config),
    Write("export", _exported),
    Write("repacked export", _repacked),
    Write("pictures", _pictures, together=False),
    Write("report", _report, together=False, slow=True),
    Write("baked maps", _baked, together=False, slow=True),
    Write("engine package", _package, together=False, slow=True),
    Write("shaders", _shaders, together=False, slow=True),
    Write("group.json", _group_record),
    Write("summary of a batch", _summary, together=False, goes_on=True, varies=True),
    Write("TensorBoard log", _log, together=False, goes_on=True, grows=True),
)
