"""Batches on Ray: shares, nodes that are lost or do not see the folder, and the same bytes as on one machine alone."""

from __future__ import annotations

import hashlib
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

NAMES = ["bark", "石", "wall"]
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
    """Start a batch on the cluster."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *GROUPS, "--groups_engine", "ray", *SHORT, *map(str, flags)],
        cwd=folder,
        text=True,
        encoding="utf-8",
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


def exported(save_dir):
    """Hashes of the exported files of each group, by name; the manifest names times and is left out."""
    return {
        name: {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in next(run_folder(save_dir / name).glob("models/train_result_600")).iterdir()
            if path.suffix in (".dds", ".npz")
        }
        for name in NAMES
    }


def test_groups_whose_worker_is_killed_or_whose_node_is_lost_go_on_and_end_as_on_one_machine(cluster, tmp_path):
    make_batch(tmp_path)
    settings = ["--max_iter", 600, "--save_interval", 50, "--keep_checkpoints", 100]
    process = start(tmp_path, *settings)
    try:
        wait_for(lambda: checkpoints(tmp_path, NAMES[0]), process)
        os.kill(worker_of(NAMES[0]), signal.SIGKILL)
        # The last group has room when one of the first has ended.
        wait_for(lambda: checkpoints(tmp_path, NAMES[2]) and worker_of(NAMES[2]), process)
        node = next(node for node in cluster.worker_nodes)
        cluster.remove_node(node, allow_graceful=False)
        out, err = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 0, out + err
    assert "Traceback" not in out + err and "(raylet)" not in out + err
    assert re.search(rf"{NAMES[0]}.*worker was ended", out), out
    assert "goes on from iteration" in out, out
    alone = run_train(*GROUPS, *SHORT, *settings, "--groups_save_dir", "alone", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert exported(tmp_path / "save_batch") == exported(tmp_path / "alone")
    assert not list((tmp_path / "save_batch").glob(".ray-*"))
