"""Checkpoints written beside the training, and how many of them are kept."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from reporting.console import say
from training.checkpoint import Checkpoint, checkpoint_folder, save_checkpoint, saved_iterations
from utils.errors import UserError


def prune_checkpoints(run_dir: Path, keep: int) -> None:
    """Remove the checkpoints of a run but the `keep` newest; a folder that holds more than one keeps what it holds."""
    for iteration in saved_iterations(run_dir)[:-keep]:
        _discard(checkpoint_folder(run_dir, iteration))


def discard_checkpoints_after(run_dir: Path, iteration: int) -> None:
    """Remove the checkpoints of a run that were saved after `iteration`, in the same way."""
    for later in saved_iterations(run_dir):
        if later > iteration:
            _discard(checkpoint_folder(run_dir, later))


def _discard(folder: Path) -> None:
    # Another program may have the file open, which is no reason to end a training.
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == ["model.pth"]:
            shutil.rmtree(folder)
        else:
            (folder / "model.pth").unlink()


class CheckpointWriter:
    """Writes the checkpoints of a run on a thread of its own, one at a time.

    A failure leaves the older checkpoints where they are. On the way it is said, and a later one may succeed; `wait`
    raises the last one's.
    """

    def __init__(self, run_dir: Path, keep: int, fingerprint: Callable[[], str]) -> None:
        """`keep`: checkpoints that stay; `fingerprint` gives that of the material and is called once, on the thread."""
        self.run_dir, self.keep = run_dir, keep
        self._fingerprint, self._known = fingerprint, ""
        self._thread: threading.Thread | None = None
        self._failure: UserError | None = None

    def write(self, checkpoint: Checkpoint) -> Path:
        """Begin to write a checkpoint, whose tensors nobody changes any more, and return its folder.

        The one before is waited for.
        """
        if self._thread:
            self._thread.join()
        self.say_failure()
        folder = checkpoint_folder(self.run_dir, checkpoint.iteration)
        self._thread = threading.Thread(target=self._write, args=(checkpoint, folder), name="checkpoint")
        self._thread.start()
        return folder

    def _write(self, checkpoint: Checkpoint, folder: Path) -> None:
        try:
            self._known = self._known or self._fingerprint()
            checkpoint.fingerprint = self._known
            save_checkpoint(checkpoint, folder)
            prune_checkpoints(self.run_dir, self.keep)
        except UserError as error:
            self._failure = error
        except Exception as error:
            self._failure = UserError(f"could not write {folder}: {error}")

    def say_failure(self) -> None:
        """Say why the last checkpoint could not be written, if that is known by now and has not been said."""
        if self._failure:
            say("note", f"{self._failure}; training goes on, older checkpoints are kept")
            self._failure = None

    def wait(self) -> None:
        """Wait for the last checkpoint; raises `UserError` where it could not be written."""
        if self._thread:
            self._thread.join()
        failure, self._failure = self._failure, None
        if failure:
            raise failure
