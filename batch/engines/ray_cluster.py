"""The Ray cluster that a batch runs on: how it is reached, what it has, and what of it each group gets."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from utils.errors import UsageError, UserError
from utils.interrupt import SIGNALS

OBJECT_STORE_BYTES = 80 << 20
"""Least that Ray takes, since images and results go through the shared folder."""


ANSWER_S = 10.0
"""Time that a cluster has to answer, seconds."""


@dataclass(frozen=True)
class Share:
    """What each group gets of the cluster."""

    cpus: int
    """Threads of its training."""
    gpus: float
    """GPUs, or the share of one; 0 trains on the processor."""
    at_once: int
    """Groups that the cluster holds at a time."""

    def __str__(self) -> str:
        text = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        return f"{text} and {self.gpus:g} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else text


def import_ray() -> ModuleType:
    """Return Ray; raises `UsageError` with the line that installs it."""
    # Ray reads these when it is imported: it tells nobody outside that it runs, and prints no reports of what is lost
    # between the lines of the batch, which says it in a line of its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"--groups_engine ray needs Ray ({error}); pip install ray") from error
    return ray


def require_cluster(address: str | None) -> str | None:
    """Return where the cluster is, None for one of this machine alone, before any work starts.

    `address`: that of the settings; without it `RAY_ADDRESS` counts. Raises `UsageError` where Ray is missing, and
    `UserError` where nobody answers.
    """
    import_ray()
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        return None
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is an address for Ray Client; run this command on a node of the cluster and give HOST:PORT "
            "of its head, such as 10.0.0.1:6379"
        )
    found = re.fullmatch(r"\[?([^\[\]/]+?)\]?:(\d+)", address)
    if found:
        # Ray itself tries for two minutes.
        try:
            socket.create_connection((found[1], int(found[2])), ANSWER_S).close()
        except (OSError, OverflowError) as error:
            raise UserError(_no_cluster(address, error)) from error
    return address


def _no_cluster(address: str | None, error: Exception) -> str:
    cause = (getattr(error, "strerror", None) or str(error)).strip().split("\n")[0]
    if not address:
        return f"Ray did not start on this machine: {cause}"
    return (
        f"no Ray cluster at {address} ({cause}); look at `ray status` there, or leave out --groups_ray_address and "
        "RAY_ADDRESS to use this machine alone"
    )


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[ModuleType]:
    """Connect to the cluster as `require_cluster` finds it, or start one of this machine alone, until left.

    Yields Ray. Raises `UserError` where no cluster answers.
    """
    address = require_cluster(address)
    ray = import_ray()
    # Ray sets a handler of its own for SIGTERM, which would lose what is trained.
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    options = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        if address:
            ray.init(address=address, **{name: options[name] for name in ("log_to_driver", "logging_level")})
        else:
            # Here alone, since a batch has no use for PyTorch itself.
            import torch

            # As many groups at a time as the local engine has, with as many threads.
            cpus = max(torch.get_num_threads(), workers)
            ray.init(address="local", num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(_no_cluster(address, error)) from error
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


def alive_nodes(ray: ModuleType) -> dict[str, dict]:
    """Return the nodes that are there, by id, as Ray describes them."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def resources(node: dict) -> tuple[int, float]:
    """Return the CPUs and GPUs of a node."""
    return int(node["Resources"].get("CPU", 0)), node["Resources"].get("GPU", 0.0)


def fits(node: dict, share: Share) -> bool:
    """Return whether a node could hold a group with this share."""
    cpus, gpus = resources(node)
    return cpus >= share.cpus and gpus >= share.gpus


def _held(nodes: list[tuple[int, float]], cpus: int, gpus: float) -> int:
    """Return how many groups with these shares nodes of (CPUs, GPUs) hold at a time."""
    # 1 / 3 of a GPU goes into it three times, whatever the sum of the rounded shares.
    return sum(min(n_cpus // cpus, math.floor(n_gpus / gpus + 1e-6) if gpus else n_cpus) for n_cpus, n_gpus in nodes)


def group_share(nodes: list[tuple[int, float]], workers: int, device: str) -> Share:
    """Share out nodes of (CPUs, GPUs) among `workers` groups at a time, as many CPUs for each as allow for all.

    Two nodes of 16 threads and a GPU, four groups:

    >>> group_share([(16, 1), (16, 1)], 4, "auto")
    Share(cpus=8, gpus=0.5, at_once=4)

    A group lies on one node, and no more GPU than one is its own:

    >>> group_share([(16, 1), (16, 1)], 1, "auto"), group_share([(4, 0), (2, 0)], 3, "auto")
    (Share(cpus=16, gpus=1.0, at_once=1), Share(cpus=2, gpus=0.0, at_once=3))

    `device` is that of the settings. Raises `UsageError` where the cluster does not have it.
    """
    total_gpus = math.floor(sum(gpus for _, gpus in nodes))
    if re.fullmatch(r"cuda:\d+", device):
        raise UsageError(
            f"--device {device} is a GPU of one machine; on Ray give --device cuda, groups are placed by Ray"
        )
    if device == "cuda" and not total_gpus:
        raise UsageError(
            "--device cuda: no node of the Ray cluster has a GPU; look at `ray status`, or use --device cpu"
        )
    gpus = 1 / math.ceil(max(workers / total_gpus, 1)) if device in ("auto", "cuda") and total_gpus else 0.0
    # Ray counts in ten-thousandths.
    gpus = math.floor(gpus * 10_000) / 10_000
    # Groups on GPUs only: nodes without one hold none of them.
    usable = [(cpus, n_gpus) for cpus, n_gpus in nodes if cpus and (n_gpus or not gpus)]
    if not usable:
        raise UserError("no node of the Ray cluster has a CPU to train on; look at `ray status`")
    most = max(cpus for cpus, _ in usable)
    cpus = next((cpus for cpus in range(most, 1, -1) if _held(usable, cpus, gpus) >= workers), 1)
    return Share(cpus, gpus, min(workers, max(_held(usable, cpus, gpus), 1)))
