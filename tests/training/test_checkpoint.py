"""Checkpoints: whole or refused in one line, written beside the training, and the newest ones kept."""

from __future__ import annotations

import dataclasses
import zipfile

import pytest
import torch

from configs import PRESETS, config_from_dict
from dataset import load_texture_set
from tests.helpers import ON, SHORT, assert_same_training, equal, run_folder, run_train
from training.checkpoint import checkpoint_folder, content_hash, load_checkpoint, save_checkpoint, saved_iterations
from training.checkpoint_writer import CheckpointWriter, prune_checkpoints
from training.run_folder import session_checkpoint
from training.schedule import new_schedule
from training.session import open_session
from utils.errors import UserError


@pytest.fixture
def saved_path(finished):
    return finished[1] / "models" / "train_result_20" / "model.pth"


def rewritten(path, target, **changes):
    """A checkpoint with entries changed, or left out where None, and a hash that fits."""
    content = {**torch.load(path, weights_only=True), **changes}
    content = {name: value for name, value in content.items() if value is not None}
    if "sha256" in content:
        content["sha256"] = content_hash(content)
    torch.save(content, target)
    return target


def test_a_flipped_byte_in_any_part_of_a_checkpoint_is_noticed(saved_path, tmp_path):
    content = saved_path.read_bytes()
    with zipfile.ZipFile(saved_path) as archive:
        parts = [
            (
                entry.filename,
                content.rfind(archive.read(entry), entry.header_offset, entry.header_offset + entry.file_size + 512),
                entry.file_size,
            )
            for entry in archive.infolist()
            if "/data/" in entry.filename and entry.file_size
        ]
    assert len(parts) > 5
    for name, start, size in parts:
        damaged = bytearray(content)
        damaged[start + size // 2] ^= 1
        (tmp_path / "model.pth").write_bytes(damaged)
        with pytest.raises(UserError, match="model.pth is damaged: its content does not match its hash"):
            load_checkpoint(tmp_path / "model.pth")
        assert start > 0, name


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"iteration": "20"}, "iteration"),
        ({"optimiser": {}}, "optimiser"),
        ({"network": None}, "network"),
        ({"grids": [torch.zeros(2)]}, "grids"),
        ({"present": {"diffuse": 1}}, "present"),
        ({"sha256": None}, "no content hash"),
        ({"version": 3}, "version 3"),
        ({"config": {"train": {"speed": 2}}}, "speed"),
        ({"config": {"train": {"max_iter": "many"}}}, "max_iter"),
    ],
)
def test_a_checkpoint_with_other_entries_is_refused_in_one_line(changes, words, saved_path, tmp_path):
    path = rewritten(saved_path, tmp_path / "model.pth", **changes)
    with pytest.raises(UserError, match=words) as error:
        load_checkpoint(path)
    assert "model.pth" in str(error.value) and "\n" not in str(error.value)


def without(entries, name):
    return {key: value for key, value in entries.items() if key != name}


CONTENT = {
    "an unknown key in schedule": (lambda old: {"schedule": {**old["schedule"], "speed": 2.0}}, "schedule.speed"),
    "a schedule of words": (lambda old: {"schedule": {**old["schedule"], "end": "late"}}, "schedule.end"),
    "a schedule without length": (lambda old: {"schedule": {**old["schedule"], "end": 0}}, "end is not after"),
    "no sampler steps": (lambda old: {"sampler": without(old["sampler"], "steps")}, "sampler.steps"),
    "a sampler of fewer mips": (lambda old: {"sampler": {**old["sampler"], "drawn": [1]}}, "sampler.drawn"),
    "no PSNR in history": (lambda old: {"history": [without(entry, "psnr_db") for entry in old["history"]]}, "psnr_db"),
    "another network": (lambda old: {"network": old["network"][:-1]}, "network is .* x?.*settings ask for"),
    "a network of other type": (lambda old: {"network": old["network"].double()}, "network is .* of float64"),
    "a missing grid": (lambda old: {"grids": old["grids"][:1]}, "1 grids, its settings 2"),
    "a missing level": (lambda old: {"grids": [old["grids"][0][1:], old["grids"][1]]}, "grid 0 has"),
    "another level": (
        lambda old: {"grids": [[level[:-1] for level in old["grids"][0]], old["grids"][1]]},
        "level 0 of grid 0",
    ),
    "an unknown backend": (lambda old: {"backend": "opengl"}, "backend is 'opengl', none of torch, tcnn"),
    "an unknown precision": (lambda old: {"precision": "float64"}, "precision"),
    "other maps": (lambda old: {"present": {"diffuse": True}}, "present"),
    "a depth that is a tensor": (
        lambda old: {"map_facts": {"diffuse": {"depth": torch.ones(1)}}},
        "map_facts.diffuse.depth",
    ),
    "no size": (lambda old: {"width": 0}, "0 x 64"),
}


@pytest.mark.parametrize("change, words", CONTENT.values(), ids=CONTENT)
def test_a_checkpoint_whose_content_does_not_fit_together_is_refused_in_one_line(change, words, saved_path, tmp_path):
    path = rewritten(saved_path, tmp_path / "model.pth", **change(torch.load(saved_path, weights_only=True)))
    with pytest.raises(UserError, match=f"model.pth is damaged: .*{words}") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


OPTIMIZER = {
    "no grid": (lambda old: without(old, "grid_1"), "no grid_1"),
    "no moment": (lambda old: {**old, "grid_0": without(old["grid_0"], "second")}, "no second"),
    "no momentum": (lambda old: {**old, "matrices": without(old["matrices"], "momentum_0")}, "no momentum_0"),
    "another shape": (lambda old: {**old, "grid_0": {**old["grid_0"], "second": torch.zeros(1)}}, "does not fit"),
}


@pytest.mark.parametrize("change, words", OPTIMIZER.values(), ids=OPTIMIZER)
def test_a_run_does_not_go_on_from_an_optimizer_state_that_does_not_fit(change, words, saved_path, workspace, tmp_path):
    state = torch.load(saved_path, weights_only=True)["optimizer"]
    path = rewritten(saved_path, tmp_path / "model.pth", optimizer=change(state))
    saved = load_checkpoint(path)
    with pytest.raises(UserError, match=f"model.pth is damaged: its optimizer state.*{words}"):
        open_session(config_from_dict(saved.config), load_texture_set(workspace / "data" / "test"), saved, path)


def test_the_padded_stack_of_momentum_of_version_1_is_taken(saved_path, workspace, tmp_path):
    state = torch.load(saved_path, weights_only=True)["optimizer"]
    momentum = [state["matrices"][f"momentum_{index}"] for index in range(len(state["matrices"]))]
    stack = torch.zeros(len(momentum), *(max(matrix.shape[axis] for matrix in momentum) for axis in (0, 1)))
    for slot, matrix in zip(stack, momentum):
        slot[: matrix.shape[0], : matrix.shape[1]] = matrix
    path = rewritten(
        saved_path,
        tmp_path / "model.pth",
        version=1,
        sha256=None,
        fingerprint=None,
        schedule=None,
        optimizer={**state, "matrices": {"momentum": stack}},
    )
    saved = load_checkpoint(path)
    session = open_session(config_from_dict(saved.config), load_texture_set(workspace / "data" / "test"), saved, path)
    assert equal(session.training_state(), state)


def test_a_checkpoint_of_version_1_goes_on_as_before(finished, saved_path, workspace, tmp_path):
    folder = tmp_path / "run" / "models" / "train_result_20"
    folder.mkdir(parents=True)
    rewritten(saved_path, folder / "model.pth", version=1, sha256=None, fingerprint=None, schedule=None)
    # In a process of its own, with as many threads as the run that it is compared with.
    process = run_train("--load_dir", tmp_path / "run", "--save_dir", tmp_path / "out", cwd=workspace)
    assert (process.returncode, process.stderr) == (0, "") and "schedule:" not in process.stdout
    assert_same_training(
        load_checkpoint(finished[1] / "models" / "train_result_40" / "model.pth"),
        load_checkpoint(run_folder(tmp_path / "out") / "models" / "train_result_40" / "model.pth"),
    )


def test_a_run_keeps_its_newest_checkpoints(call, workspace, tmp_path):
    code, _, err = call(
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path / "out",
        *SHORT,
        *ON,
        "--max_iter",
        55,
        "--save_interval",
        10,
        "--keep_checkpoints",
        2,
    )
    assert (code, err) == (0, "")
    folder = run_folder(tmp_path / "out")
    assert saved_iterations(folder) == [50, 55]
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["train_result_50", "train_result_55"]


def test_exported_files_stay_where_a_checkpoint_goes(saved_path, tmp_path):
    saved = load_checkpoint(saved_path)
    for iteration in (1, 2, 3):
        save_checkpoint(saved, checkpoint_folder(tmp_path, iteration))
    (checkpoint_folder(tmp_path, 1) / "manifest.json").write_text("{}")
    prune_checkpoints(tmp_path, 1)
    assert sorted(
        path.relative_to(tmp_path / "models").as_posix() for path in tmp_path.rglob("*.*") if path.is_file()
    ) == ["train_result_1/manifest.json", "train_result_3/model.pth"]
    assert not checkpoint_folder(tmp_path, 2).exists()


def test_a_checkpoint_that_cannot_be_written_costs_no_other_and_is_said_once(saved_path, tmp_path, capsys):
    saved = load_checkpoint(saved_path)
    writer = CheckpointWriter(tmp_path, 1, lambda: "print")
    writer.write(dataclasses.replace(saved, iteration=1))
    writer.wait()
    checkpoint_folder(tmp_path, 2).write_text("in the way")
    writer.write(dataclasses.replace(saved, iteration=2))
    writer.write(dataclasses.replace(saved, iteration=3))
    writer.wait()
    assert capsys.readouterr().out.count("train_result_2") == 1
    assert saved_iterations(tmp_path) == [3]
    checkpoint_folder(tmp_path, 4).write_text("in the way")
    writer.write(dataclasses.replace(saved, iteration=4))
    with pytest.raises(UserError, match="train_result_4.*move it"):
        writer.wait()
    assert saved_iterations(tmp_path) == [3]
    assert load_checkpoint(checkpoint_folder(tmp_path, 3) / "model.pth").fingerprint == "print"


@pytest.mark.parametrize("preset, changes", [("ue5", {}), ("quality", {"time_budget": 0.0, "optimizer": "adam"})])
def test_a_checkpoint_does_not_change_with_the_training_that_goes_on(preset, changes, workspace, tmp_path):
    config = config_from_dict(PRESETS[preset])
    config.train = dataclasses.replace(config.train, batch_size=1024, device="cpu", **changes)
    session = open_session(config, load_texture_set(workspace / "data" / "test"))
    step = session.training_step()

    def moment(path):
        for _ in range(3):
            step(session.sampler.draw(), session.noise(0.0), 1.0)
            session.iteration += 1
        session.history.append({"iteration": session.iteration})
        checkpoint = session_checkpoint(session, new_schedule(config.train))
        torch.save(vars(checkpoint), path)
        return checkpoint

    first = moment(tmp_path / "first.pth")
    second = moment(tmp_path / "second.pth")
    assert equal(torch.load(tmp_path / "first.pth", weights_only=True), vars(first))
    for name in ("grids", "network", "optimizer", "sampler", "history"):
        assert not equal(getattr(first, name), getattr(second, name)), name
