"""Trainings that diverge: by learning rates, and by values that are put into a run; when it is noticed, and what is left."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.reliability.parts import Options, progress
from benchmarks.reliability.trained import FLAGS, export_bytes, write_material
from configs import Config
from dataset import load_texture_set
from formats.manifest import read_manifest
from reporting.console import console
from training.checkpoint import load_checkpoint, saved_iterations
from training.divergence import SETTLING_ITERATIONS, WARNING
from training.flags import make_config, resume_config
from training.run import train
from training.session import Session
from utils.errors import UserError

SOUND_ITERATIONS, ITERATIONS = 200, 400
INTERVAL = 50
POISONED_AT = 320
"""Iteration after which a value is put in, between two evaluations."""


@dataclass
class Case:
    """One training, and what has to become of it."""

    name: str
    flags: dict[str, object]
    resumes: bool = False
    """Whether it goes on from the sound run's last checkpoint."""
    poison: Callable[[Session], None] | None = None
    ends_at: int | None = None
    """Iteration of the state that has to be exported; None: there is no good one, and it fails."""
    learns_nothing: bool = False
    """Whether it ends as usual, without a state that is good; then it has to say that what it exports is of no use."""


def _nan_feature(session: Session) -> None:
    session.texture.grids.tables[0][7, 0] = float("nan")


def _infinite_weight(session: Session) -> None:
    with torch.no_grad():
        session.texture.decoder.matrices[0][0, 0] = float("inf")


def _nan_momentum(session: Session) -> None:
    for name, tensor in session.optimizers.state()["matrices"].items():
        if name.startswith("momentum"):
            tensor.fill_(float("nan"))


def _zeroed_network(session: Session) -> None:
    with torch.no_grad():
        for matrix in session.texture.decoder.matrices:
            matrix.zero_()


LAST_GOOD = POISONED_AT // INTERVAL * INTERVAL
CASES = (
    Case("learning_rate 1e30 from the start", {"learning_rate": 1e30}),
    Case("learning_rate 1e12, adam, from the start", {"learning_rate": 1e12, "optimizer": "adam"}),
    Case("learning_rate 10 from the start", {"learning_rate": 10.0}, learns_nothing=True),
    Case("learning_rate 30 on a sound model", {"learning_rate": 30.0}, True, None, SOUND_ITERATIONS),
    Case("learning_rate 1e30 on a sound model", {"learning_rate": 1e30}, True, None, SOUND_ITERATIONS),
    Case("a grid texel becomes NaN", {}, False, _nan_feature, LAST_GOOD),
    Case("a weight becomes infinite", {}, False, _infinite_weight, LAST_GOOD),
    Case("the momentum becomes NaN", {}, False, _nan_momentum, LAST_GOOD),
    Case("the network becomes zero", {}, False, _zeroed_network, LAST_GOOD),
)
SHORT_CASES = (0, 2, 3, 5)


def run(options: Options) -> dict:
    """Let trainings diverge; the state before it must be exported, byte for byte, and the run must say so."""
    cases = [CASES[number] for number in SHORT_CASES] if options.short else CASES
    work = options.work
    flags = {**FLAGS, "eval_interval": INTERVAL, "save_interval": INTERVAL, "keep_checkpoints": 20, "report": False}
    flags |= {"data_dir": str(write_material(work / "material"))}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, _ = _trained(make_config({**flags, "max_iter": ITERATIONS, "save_dir": str(work / "whole")}))
        sound, _ = _trained(make_config({**flags, "max_iter": SOUND_ITERATIONS, "save_dir": str(work / "sound")}))
        rows, faults = [], []
        with progress(len(cases), "trainings") as bar:
            for number, case in enumerate(cases):
                row, found = _row(case, flags, work / str(number), whole, sound / "model.pth")
                rows.append(row)
                faults += [f"{case.name}: {fault}" for fault in found]
                bar.update()
    finally:
        torch.set_num_threads(before)
    return {"rows": rows, "faults": faults}


def _row(
    case: Case, flags: dict[str, object], out: Path, whole: Path, sound: Path
) -> tuple[dict[str, object], list[str]]:
    settings = {**flags, **case.flags, "max_iter": ITERATIONS, "save_dir": str(out)}
    saved = load_checkpoint(sound) if case.resumes else None
    if saved:
        del settings["deterministic"]
        config = resume_config(saved.config, settings, sound)
    else:
        config = make_config(settings)
    folder, printed, error = None, io.StringIO(), ""
    began_at = POISONED_AT if case.poison else SOUND_ITERATIONS if case.resumes else 0
    try:
        folder, printed = _trained(config, saved, sound if saved else None, case.poison)
    except UserError as failure:
        error = str(failure)
    lines = [line for line in printed.getvalue().splitlines() if line.startswith(("diverged", WARNING))]
    said = error or (lines or [""])[0]
    faults = [] if said else ["nothing is said of it"]
    named = re.search(r"by iteration (\d+)", said)
    noticed_at = int(named[1]) if named else -1
    within = SETTLING_ITERATIONS if case.learns_nothing else INTERVAL
    if not 0 < noticed_at - began_at <= within:
        faults.append(f"noticed at iteration {noticed_at}, {began_at} and at most {within} more are asked")
    kept = None
    if case.learns_nothing:
        if folder is None:
            faults.append(f"it fails: {error}")
        elif not any("learned nothing" in notice for notice in read_manifest(folder)["notices"]):
            faults.append("the manifest has no notice of it")
    elif case.ends_at is None:
        if folder or any(out.rglob("manifest.json")) or any(out.rglob("model.pth")):
            faults.append("something was exported or saved, though nothing was good")
    elif folder is None:
        faults.append(f"it fails: {error}")
    else:
        kept = int(folder.name.removeprefix("train_result_"))
        faults += _faults_of_export(case, folder, kept, whole, sound)
    return {
        "case": case.name,
        "begins at": began_at,
        "noticed at": noticed_at,
        "state kept": kept if kept is not None else "none: says so" if case.learns_nothing else "none: fails",
        "exported dB": read_manifest(folder)["psnr"]["overall"][0] if folder else None,
        "faults": len(faults),
    }, faults


def _faults_of_export(case: Case, folder: Path, kept: int, whole: Path, sound: Path) -> list[str]:
    faults = []
    if kept != case.ends_at:
        faults.append(f"the state of iteration {kept} is kept, not that of {case.ends_at}")
    if not any("diverged" in notice for notice in read_manifest(folder)["notices"]):
        faults.append("the manifest has no notice of it")
    if saved_iterations(folder.parent.parent)[-1] != kept:
        faults.append("a later checkpoint is left, which would be taken for the newest")
    # The same state of the run that nothing was put into.
    model = load_checkpoint(folder / "model.pth")
    of_whole = whole.parent / f"train_result_{kept}" / "model.pth"
    good = load_checkpoint(sound if case.resumes else of_whole)
    same = torch.equal(model.network, good.network) and all(
        torch.equal(ours, theirs)
        for of_ours, of_theirs in zip(model.grids, good.grids, strict=True)
        for ours, theirs in zip(of_ours, of_theirs, strict=True)
    )
    if not same:
        faults.append("the state that is kept is not that of the evaluation")
    if case.resumes:
        ours, theirs = export_bytes(folder), export_bytes(sound.parent)
        if any(ours[name] != theirs[name] for name in theirs if name != "manifest.json"):
            faults.append("the export is not that of the checkpoint that it went on from")
    return faults


def _trained(
    config: Config, saved=None, path: Path | None = None, poison: Callable[[Session], None] | None = None
) -> tuple[Path, io.StringIO]:
    """Train, with a value put in once if asked for; returns the folder of the exports and what was printed."""
    printed = io.StringIO()
    console.file = printed  # type: ignore[assignment]
    try:
        with _poisoned(poison):
            texture_set = load_texture_set(config.run.data_dir, images=config.images)
            return train(config, saved, path, texture_set=texture_set), printed
    finally:
        console.file = None  # type: ignore[assignment]


@contextlib.contextmanager
def _poisoned(poison: Callable[[Session], None] | None):
    """While entered, put a value into a training after `POISONED_AT` iterations, as a fault of a machine would."""
    if not poison:
        yield
        return
    noise_before, done = Session.noise, []

    def noise(session: Session, fraction: float):
        # Asked for before every step, from outside of it.
        if session.iteration == POISONED_AT and not done:
            done.append(True)
            poison(session)
        return noise_before(session, fraction)

    Session.noise = noise  # type: ignore[method-assign]
    try:
        yield
    finally:
        Session.noise = noise_before  # type: ignore[method-assign]
