"""Groups as tasks of a Ray cluster, on one machine or many; images and results go through a folder that all see.

A task that is lost with its worker or its node begins again elsewhere from the group's newest checkpoint. One that fails
by itself does not.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from batch.engines.child import GRACE_S
from batch.engines.local import MOST_JOBS
from batch.engines.ray_cluster import Share, alive_nodes, connected, fits, group_share, resources
from batch.jobs import ENDS, SAVING, Job, Progress, Tell
from batch.output import append_to_log
from reporting.console import say
from utils.errors import UserError
from utils.interrupt import Interrupted, deferred_interrupt

LOSSES = 3
"""Times that a group may lose its worker without having come further, before it has failed."""
POLL_S = 0.3
"""Time between two looks at what the tasks have told, seconds."""
NO_NODE_S = 600.0
"""Time to wait for a node where none is left that a group could run on, seconds."""
ROOT = Path(__file__).resolve().parents[2]
"""The toolkit's folder, which the nodes import it from."""


@dataclass
class _Group:
    """A job and its tasks so far."""

    job: Job
    attempt: int = 0
    node: str = ""
    """Id of the node that its task runs on; empty while Ray looks for one."""
    ended: bool = False
    losses: int = 0
    """Workers lost since it last came further."""
    reached: int = 0
    furthest: int = 0
    """Iteration that it has reached, and had reached when its worker was lost before."""


def _remote(ray: ModuleType) -> tuple[Any, Any]:
    """Return the task that trains a group, and the class of the actor that keeps what tasks tell.

    Functions and classes within a function go to the nodes as code, so that a node that lacks the toolkit can say so;
    nothing of this file may be used in them.
    """

    def train_group(root: str, shared: list[str], *arguments: Any) -> tuple[str, str, str, str]:
        """Return how it went (ended, unseen, foreign), what is not seen or imported, and the node's id and address."""
        import sys

        import ray

        node, address = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
        if root not in sys.path:
            sys.path.insert(0, root)
        try:
            from batch.engines.ray_task import train_here, unseen
        except ImportError as error:
            return "foreign", str(error), node, address
        missing = unseen(shared)
        if missing:
            return "unseen", missing, node, address
        train_here(node, address, *arguments)
        return "ended", "", node, address

    class Mailbox:
        """Holds what is told until it is taken, in its order."""

        def __init__(self) -> None:
            self.messages: list[bytes] = []

        def put(self, message: bytes) -> None:
            self.messages.append(message)

        def take(self) -> list[bytes]:
            messages, self.messages = self.messages, []
            return messages

    # What is retried and from where is decided here.
    task = ray.remote(max_calls=MOST_JOBS, max_retries=0)(train_group)
    return task, ray.remote(num_cpus=0)(Mailbox)


class _Batch:
    """The jobs of a batch on a cluster: which wait, which run, and what becomes of them."""

    def __init__(self, ray: ModuleType, jobs: Sequence[Job], share: Share, verbose: bool, tell: Tell) -> None:
        self.ray, self.share, self.verbose, self.tell = ray, share, verbose, tell
        self.groups = {job.index: _Group(job) for job in jobs}
        self.waiting = deque(self.groups.values())
        self.running: dict[Any, _Group] = {}
        """Groups by their task, also those that Ray has no room for yet."""
        self.left_out: set[str] = set()
        """Ids of nodes that lack the toolkit or the shared folder."""
        self.no_node_since: float | None = None
        self.stopping = False
        self.address = ray.util.get_node_ip_address()
        """Of this machine, which goes without saying."""
        self.task, mailbox = _remote(ray)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.mailbox = mailbox.options(scheduling_strategy=here).remote()

    def submit(self, group: _Group, shared: list[str]) -> None:
        """Hand a group to Ray, which runs it as soon as a node has its share to spare."""
        group.attempt, group.node = group.attempt + 1, ""
        options: dict[str, Any] = {"num_cpus": self.share.cpus, "name": f"group {group.job.name}"}
        if self.share.gpus:
            options["num_gpus"] = self.share.gpus
        if self.left_out:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(self.left_out))})"}
        # What is not there for anyone is the group's own failure.
        inputs = group.job.config.run.data_dir
        here = [path for path in (inputs, inputs.rpartition("#")[0], *shared) if os.path.exists(path)]
        task = self.task.options(**options).remote(
            str(ROOT), here, self.mailbox, group.attempt, pickle.dumps(group.job), self.share.cpus, self.verbose
        )
        self.running[task] = group

    def run(self, shared: list[str]) -> None:
        """Train all groups; `shared`: paths that every node has to see."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.share.at_once:
                self.submit(self.waiting.popleft(), shared)
            self.look(POLL_S)
            self.check_nodes()

    def look(self, timeout_s: float) -> None:
        """Tell what the tasks have told, and take out those that have ended."""
        ended, _ = self.ray.wait(list(self.running), timeout=timeout_s)
        # What has been taken from the mailbox is told, whatever comes.
        with deferred_interrupt() as signalled:
            for index, attempt, what, value in map(pickle.loads, self.ray.get(self.mailbox.take.remote())):
                group = self.groups[index]
                # A worker that is taken for lost may still speak.
                if attempt == group.attempt and not group.ended:
                    self.told(group, what, value)
            for task in ended:
                self.ended(self.running.pop(task), task)
        if signalled():
            raise Interrupted(signalled())

    def told(self, group: _Group, what: Any, value: Any) -> None:
        """Pass on what a group's task tells."""
        if what == "interrupted" and not self.stopping:
            # By whoever ends the worker; what becomes of the group is decided when its task ends.
            return
        if what == "started":
            group.node, address = value
            value = "" if address == self.address else address
        elif isinstance(value, Progress):
            group.reached = max(group.reached, value.iteration)
        group.ended = what in ENDS
        self.tell(group.job.index, what, value)

    def ended(self, group: _Group, task: Any) -> None:
        """Decide what becomes of a group whose task has ended."""
        errors, index = self.ray.exceptions, group.job.index
        try:
            how, what, node, address = self.ray.get(task)
        except errors.TaskCancelledError:
            # It had nothing to save yet.
            if not group.ended:
                self.tell(index, "interrupted", "")
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.LocalRayletDiedError,
            errors.ObjectLostError,
        ) as error:
            if self.stopping:
                self.tell(index, "interrupted", "")
            elif not group.ended:
                self.lost(group, error)
        except errors.RayError as error:
            if not group.ended:
                append_to_log(group.job.log_path, f"{error}\n")
                self.tell(index, "failed", f"Ray: {str(error).strip().splitlines()[-1]}")
        else:
            if how != "ended":
                self.leave_out(node, address, how, what)
                self.waiting.appendleft(group)
            elif not group.ended and self.stopping:
                self.tell(index, "interrupted", "")
            elif not group.ended:
                self.lost(group, None)

    def lost(self, group: _Group, error: Exception | None) -> None:
        """Let a group begin again whose worker or node is gone, unless that happens at the same place again."""
        errors = self.ray.exceptions
        node_lost = isinstance(error, (errors.NodeDiedError, errors.LocalRayletDiedError)) or (
            group.node and group.node not in alive_nodes(self.ray)
        )
        if node_lost:
            cause = "its node was lost"
        elif error is None:
            cause = "its worker was told to end"
        elif isinstance(error, errors.OutOfMemoryError):
            cause = "memory ran out on its node"
        else:
            cause = "its worker was ended, which is what happens where memory runs out or someone kills it"
        append_to_log(group.job.log_path, f"{cause}\n")
        group.losses = 1 if group.reached > group.furthest else group.losses + 1
        group.furthest = group.reached
        # A lost node is no fault of the group.
        if group.losses >= LOSSES and not node_lost:
            group.ended = True
            self.tell(group.job.index, "failed", f"{cause}, {group.losses} times at the same place")
            return
        self.tell(group.job.index, "retried", cause)
        group.job = replace(group.job, resume=True)
        self.waiting.appendleft(group)

    def leave_out(self, node: str, address: str, how: str, what: str) -> None:
        """Give no more groups to a node that cannot train any; raises `UserError` where it was the last one."""
        cause = (
            f"does not see {what}; mount the shared folder there under the same path"
            if how == "unseen"
            else f"cannot import the toolkit from {ROOT} ({what}); share that folder and install requirements.txt there"
        )
        if node not in self.left_out:
            self.left_out.add(node)
            say("note", f"node {address} is left out: it {cause}")
        if not set(alive_nodes(self.ray)) - self.left_out:
            raise UserError(f"no node of the Ray cluster can train: {address} {cause}")

    def check_nodes(self) -> None:
        """Say where no node is left that holds a group, and raise `UserError` where none comes for long."""
        if not self.running or any(group.node for group in self.running.values()):
            self.no_node_since = None
            return
        nodes = [node for name, node in alive_nodes(self.ray).items() if name not in self.left_out]
        if any(fits(node, self.share) for node in nodes):
            self.no_node_since = None
        elif self.no_node_since is None:
            self.no_node_since = time.monotonic()
            say("note", f"no node of the Ray cluster has {self.share} for a group; waiting for one")
        elif time.monotonic() > self.no_node_since + NO_NODE_S:
            raise UserError(
                f"no node of the Ray cluster has {self.share} for a group; add nodes and go on with --groups_resume"
            )

    def stop(self) -> None:
        """Have the tasks save their checkpoints, and tell so."""
        self.stopping = True
        for task, group in self.running.items():
            if group.node:
                self.tell(group.job.index, "note", SAVING)
            self.ray.cancel(task, recursive=False)
        end = time.monotonic() + GRACE_S
        while self.running and time.monotonic() < end:
            self.look(POLL_S)


@contextmanager
def _shared_file(jobs: Sequence[Job]) -> Iterator[str]:
    """A file in the folder of all outputs, by which a node is known to see it."""
    folder = os.path.commonpath([job.folder.parent for job in jobs])
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".ray-") as file:
        yield file.name


def _absolute(job: Job) -> Job:
    """Return the job with paths that do not depend on the folder that a command runs in."""
    run = job.config.run
    run = replace(run, data_dir=os.path.abspath(run.data_dir), save_dir=os.path.abspath(run.save_dir))
    return replace(job, config=replace(job.config, run=run), log_path=Path(os.path.abspath(job.log_path)))


def _say_shares(nodes: list[tuple[int, float]], share: Share, workers: int) -> None:
    cpus, gpus = (sum(node[part] for node in nodes) for part in (0, 1))
    has = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''} with {cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
    say("Ray", f"{has}; {share.at_once} at a time, each with {share}")
    if share.at_once < workers:
        say("note", f"the Ray cluster holds {share.at_once} groups at a time, not groups_max_workers {workers}")
    if share.gpus == 1 and gpus > workers:
        say("note", f"{workers} of {gpus:g} GPUs are used; --groups_max_workers {gpus:g} uses all")


def run_ray(jobs: Sequence[Job], workers: int, verbose: bool, tell: Tell) -> None:
    """Train jobs as tasks of a Ray cluster, `workers` at a time; an engine as `batch.jobs` describes it.

    Raises `UserError` where Ray is missing, no cluster answers, or none of its nodes can train.
    """
    jobs = [_absolute(job) for job in jobs]
    if not jobs:
        return
    config = jobs[0].config
    with connected(config.run.groups_ray_address, workers) as ray, _shared_file(jobs) as shared:
        nodes = [resources(node) for node in alive_nodes(ray).values()]
        share = group_share(nodes, workers, config.train.device)
        _say_shares(nodes, share, workers)
        batch = _Batch(ray, jobs, share, verbose, tell)
        try:
            batch.run([shared])
        except KeyboardInterrupt:
            batch.stop()
            raise
