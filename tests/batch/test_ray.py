"""Batches on Ray: shares, nodes that are lost or do not see the folder, and the same bytes as on one machine alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batch.engines.ray_cluster import Share, group_share
from batch.engines.ray_task import unseen
from tests.helpers import OFFLINE, ROOT, SHORT, assert_one_line, make_material, run_folder, run_train
from training.checkpoint import saved_iterations
from utils.errors import UsageError, UserError

NAMES = ["bark", "wall", "石"]
GROUPS = "--groups_batching --groups_batch_dir data_batch --groups_max_workers 2 --device cpu --no-report".split()
LONG = ["--max_iter", "1000000", "--save_interval", "1000000"]
SHORT = [*SHORT, "--no-early_stop"]


@pytest.mark.parametrize(
    "nodes, workers, device, expected",
    [
        ([(16, 0)], 4, "auto", Share(4, 0.0, 4)),
        ([(2, 0)], 4, "cpu", Share(1, 0.0, 2)),
        ([(64, 8)], 8, "auto", Share(8, 1.0, 8)),
        ([(64, 8)], 12, "auto", Share(5, 0.5, 12)),
        ([(64, 8)], 8, "cpu", Share(8, 0.0, 8)),
        ([(32, 4), (32, 4), (8, 0)], 8, "cuda", Share(8, 1.0, 8)),
        ([(32, 1)], 3, "auto", Share(10, 0.3333, 3)),
        ([(0, 0), (7, 0), (4, 0)], 3, "auto", Share(3, 0.0, 3)),
    ],
)
def test_groups_share_the_nodes_and_their_gpus(nodes, workers, device, expected):
    assert group_share(nodes, workers, device) == expected


@pytest.mark.parametrize(
    "nodes, device, error, word",
    [
        ([(4, 0)], "cuda", UsageError, "no node"),
        ([(4, 2)], "cuda:1", UsageError, "--device cuda"),
        ([(0, 0)], "auto", UserError, "CPU"),
        ([(0, 1)], "auto", UserError, "CPU"),
    ],
)
def test_a_cluster_without_what_is_asked_for_is_refused(nodes, device, error, word):
    with pytest.raises(error, match=word):
        group_share(nodes, 2, device)


def test_a_folder_that_is_not_there_is_named_at_once_and_a_late_file_waited_for(tmp_path):
    (tmp_path / "here").write_text("")
    assert unseen([str(tmp_path / "here")]) is None
    assert unseen([str(tmp_path / "here"), str(tmp_path / "no" / "folder")], wait_s=1000) == str(tmp_path / "no/folder")
    assert unseen([str(tmp_path / "late")], wait_s=0) == str(tmp_path / "late")


def make_batch(folder, names=tuple(NAMES)):
    for name in names:
        make_material(folder / "data_batch" / name, 32, 32)
    return folder


def test_without_ray_one_line_says_what_to_install(tmp_path):
    make_batch(tmp_path)
    (tmp_path / "none" / "ray").mkdir(parents=True)
    (tmp_path / "none" / "ray" / "__init__.py").write_text("raise ImportError(\"No module named 'ray'\")")
    process = run_train(*GROUPS, "--groups_engine", "ray", cwd=tmp_path, PYTHONPATH=str(tmp_path / "none"))
    assert process.returncode == 2
    assert_one_line(process.stderr, "pip install ray")


@pytest.mark.parametrize(
    "address, code, word", [("127.0.0.1:1", 1, "127.0.0.1:1"), ("ray://10.0.0.1:10001", 2, "6379")]
)
def test_a_cluster_that_does_not_answer_is_named_before_any_work(address, code, word, call, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray: pip install ray")
    monkeypatch.chdir(make_batch(tmp_path, ["bark"]))
    found, out, err = call(*GROUPS, "--groups_engine", "ray", "--groups_ray_address", address)
    assert (found, out) == (code, "")
    assert_one_line(err, word)
    assert not (tmp_path / "save_batch").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/3/5", "a/b"])
def test_a_shard_that_is_none_is_refused(shard, call):
    code, _, err = call("--groups_batching", "--groups_shard", shard)
    assert code == 2
    assert_one_line(err, "3/16")


def test_shards_train_every_material_once_and_a_later_batch_sums_them_up(call, tmp_path, monkeypatch):
    monkeypatch.chdir(make_batch(tmp_path))
    flags = ["--groups_batching", *SHORT, "--no-report", "--max_iter", 10]
    for part in (1, 2):
        assert call(*flags, "--groups_shard", f"{part}/2")[0] == 0
    parts = [json.loads((tmp_path / "save_batch" / f"summary-{part}-of-2.json").read_text("utf-8")) for part in (1, 2)]
    assert [[group["name"] for group in part["groups"]] for part in parts] == [["bark", "石"], ["wall"]]
    assert not (tmp_path / "save_batch" / "summary.json").exists()
    code, out, _ = call(*flags, "--groups_resume")
    assert code == 0 and "3 of 3 materials" in out
    whole = json.loads((tmp_path / "save_batch" / "summary.json").read_text("utf-8"))
    assert {group["name"]: group["state"] for group in whole["groups"]} == dict.fromkeys(NAMES, "kept")


# On a cluster.


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two nodes of one CPU each, on this machine."""
    if sys.platform != "linux":
        pytest.skip("needs /proc and Ray's processes as Linux has them")
    with pytest.MonkeyPatch.context() as environment:
        # It is reached from this machine alone, and leaves nothing at home.
        environment.setenv("RAY_AUTH_MODE", "disabled")
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name, value in OFFLINE.items():
            environment.setenv(name, value)
        pytest.importorskip("ray", reason="needs Ray: pip install ray")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 80 << 20}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        cluster.add_node(**node)
        environment.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        cluster.shutdown()


def start(folder, *flags):
    """Start a batch on Ray."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *GROUPS, "--groups_engine", "ray", *SHORT, *map(str, flags)],
        cwd=folder,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TORCH_HOME": str(folder)},
    )


def wait_for(condition, process, timeout_s=120.0):
    """Return what `condition()` returns as soon as that is true; the batch must go on until then."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate())


def worker_of(name):
    """Id of the process that trains a group, None where there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().rstrip(b"\0") == f"ray::group {name}".encode():
                return int(path.parent.name)
        except OSError:
            continue
    return None


def checkpoints(folder, name):
    """Iterations that a group has checkpoints of, over all of its runs."""
    return sorted(i for run in (folder / "save_batch" / name).glob("2*") for i in saved_iterations(run))


def exported(save_dir, name):
    """Hashes of the exported files of a group; the manifest names times and is left out."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in next(run_folder(save_dir / name).glob("models/train_result_200")).iterdir()
        if path.suffix in (".dds", ".npz")
    }


def parent(pid):
    """Id of a process's parent; Ray's workers are children of their node."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_groups_whose_worker_is_killed_or_whose_node_is_lost_go_on_and_end_as_on_one_machine(cluster, tmp_path):
    make_batch(tmp_path)
    settings = ["--max_iter", 200, "--save_interval", 50, "--eval_interval", 100]
    (node,) = cluster.worker_nodes
    raylet = node.all_processes["raylet"][0].process.pid
    held = {}

    def two_are_held():
        """Two groups, one on each node, stand still after their first checkpoints, so that neither ends too soon."""
        for name in NAMES[:2]:
            pid = worker_of(name)
            if name not in held and pid and checkpoints(tmp_path, name):
                os.kill(pid, signal.SIGSTOP)
                held[name] = pid
        return len(held) == 2

    def loss_is_noted(name, cause):
        return cause in (tmp_path / "save_batch" / name / "log.txt").read_text("utf-8")

    process = start(tmp_path, *settings)
    try:
        wait_for(two_are_held, process)
        lost, killed = sorted(held, key=lambda name: parent(held[name]) != raylet)
        assert [parent(held[name]) == raylet for name in (lost, killed)] == [True, False]
        os.kill(held[killed], signal.SIGKILL)
        wait_for(lambda: loss_is_noted(killed, "its worker was ended"), process)
        cluster.remove_node(node, allow_graceful=False)
        wait_for(lambda: loss_is_noted(lost, "its node was lost"), process)
        # All that ran on a lost machine is gone with it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(held[lost], signal.SIGKILL)
        out, err = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, out + err
    assert "Traceback" not in out + err and "(raylet)" not in out + err
    assert re.search(rf"^note: +{killed}: begins again: its worker was ended", out, re.M), out
    assert re.search(rf"^note: +{lost}: begins again: its node was lost", out, re.M), out
    for name in held:
        assert re.search(rf"^note: +{name}: goes on from iteration \d+ of ", out, re.M), out
    # The materials of this batch are all the same.
    alone = run_train(
        "--data_dir", "data_batch/wall", "--device", "cpu", *SHORT, "--no-report", *settings, cwd=tmp_path
    )
    assert alone.returncode == 0, alone.stderr
    for name in NAMES:
        assert exported(tmp_path / "save_batch", name) == exported(tmp_path, "outputs")
    assert not list((tmp_path / "save_batch").glob(".ray-*"))


@pytest.fixture
def blind_node(cluster, tmp_path):
    """A further node, on which the folder of the batch is empty."""
    ray = str(Path(sys.executable).with_name("ray"))
    hide = f"mount -t tmpfs none '{tmp_path}' && "
    if subprocess.run(["unshare", "-m", "sh", "-c", f"{hide} true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a folder for a process alone")
    join = f"exec '{ray}' start --address={cluster.address} --num-cpus=1 --object-store-memory={80 << 20} --block"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", hide + join], stdout=subprocess.PIPE, text=True)
    # It is on the list of nodes then.
    assert process.stdout and any("runtime started" in line for line in process.stdout)
    yield process
    process.terminate()
    process.wait(60)


def test_a_node_without_the_folder_is_left_out_and_a_failure_of_a_group_is_not_retried(blind_node, tmp_path):
    make_batch(tmp_path)
    (tmp_path / "data_batch" / "wall" / "wall_albedo.png").write_bytes(b"no image")
    process = start(tmp_path, "--groups_max_workers", len(NAMES))
    out, err = process.communicate(timeout=400)
    assert process.returncode == 1, out + err
    assert re.search(rf"^note: +node .* is left out: it does not see {tmp_path}", out, re.M), out
    assert "begins again" not in out and "2 of 3 materials" in out
    assert_one_line(err, "wall failed", "wall_albedo.png")


def test_an_interrupted_batch_on_ray_saves_what_its_tasks_have(cluster, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS")
    make_batch(tmp_path)
    process = start(tmp_path, *LONG)

    def trained():
        logs = [tmp_path / "save_batch" / name / "log.txt" for name in NAMES[:2]]
        return all(log.exists() and "iteration 20:" in log.read_text("utf-8") for log in logs)

    wait_for(trained, process)
    # As a terminal does it: every process of the command gets it.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "Traceback" not in out + err, out + err
    assert err.splitlines()[-1] == "interrupted" and "0 of 3 materials" in out
    for name in NAMES[:2]:
        (iteration,) = checkpoints(tmp_path, name)
        assert iteration >= 20
        assert re.search(rf"^interrupted: +{name}, saved .*train_result_{iteration}$", out, re.M), out
