"""LPIPS, the perceptual metric: loaded when it is first needed, off with one line where its weights cannot be had."""

from __future__ import annotations

import functools
import os
import queue
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from reporting.console import say

if TYPE_CHECKING:
    import torch

LPIPS_MIN_SIDE = 128
"""LPIPS is not taken on images with a side below this, texels."""
WEIGHTS_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet; known here so that nothing heavy is imported where it cannot be had."""
ANSWER_TIMEOUT_S = 3.0
"""Longest wait for a server to answer, and for each piece of a file."""


def _require_answer(url: str) -> None:
    """Raise `OSError` unless `url` answers in time; on a thread, because a name look-up obeys no timeout."""
    answer: queue.Queue[OSError | None] = queue.Queue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S):
                answer.put(None)
        except OSError as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=ANSWER_TIMEOUT_S)
    except queue.Empty:
        error = TimeoutError("no answer")
    if error:
        raise error


@functools.cache
def missing_weights(url: str) -> str:
    """Return "" where the file of `url` is in the torch hub cache or could be downloaded to it, else one line why not.

    It is tried once per process. torch hub checks the file's SHA-256 against the digits in its name.
    """
    import torch.hub

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlsplit(url).path).name
    if path.is_file():
        return ""
    before = socket.getdefaulttimeout()
    try:
        _require_answer(url)
        say("lpips", f"downloads its weights once, from {url} to {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        digits = torch.hub.HASH_REGEX.search(path.name)
        socket.setdefaulttimeout(ANSWER_TIMEOUT_S)
        torch.hub.download_url_to_file(url, str(path), digits and digits[1], progress=sys.stderr.isatty())
        return ""
    except (OSError, RuntimeError) as error:
        return (
            f"its weights could not be downloaded ({getattr(error, 'reason', None) or error}); download {url} to "
            f"{folder}"
        )
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _safe_unpickling() -> Iterator[None]:
    """Make every `torch.load` inside refuse anything but tensors, whatever the caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


class Lpips:
    """Learned perceptual image patch similarity (Zhang et al. 2018, AlexNet).

    `reason` is empty, or one line that says why it is off and how to get it.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._network: torch.nn.Module | None = None
        reason = missing_weights(WEIGHTS_URL) or self._load()
        self.reason = f"LPIPS is off: {reason}" if reason else ""

    def _load(self) -> str:
        """Load the network; returns "" or why it could not be."""
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
            from torchvision.models import AlexNet_Weights
        except ImportError as error:
            return f"{error.name or 'torchvision'} is missing; pip install torchmetrics torchvision"
        # Another release of torchvision may read another file, and would fetch it without a word.
        missing = missing_weights(AlexNet_Weights.DEFAULT.url)
        if missing:
            return missing
        try:
            with _safe_unpickling():
                metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
        except Exception as error:  # a damaged file fails in many ways, and LPIPS must never stop a run
            return f"its weights do not load ({type(error).__name__}); delete them to fetch them anew"
        self._network = metric.net.to(self.device).eval()
        return ""

    def __call__(self, reference: np.ndarray, decoded: np.ndarray) -> float | None:
        """Return LPIPS of sRGB uint8 `[H, W, 3]` images, 0 where equal; `None` where off or a side is below 128."""
        if self._network is None or min(reference.shape[:2]) < LPIPS_MIN_SIDE:
            return None
        import torch

        with torch.no_grad():
            images = [
                torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
                for image in (decoded, reference)
            ]
            return float(self._network(*images, normalize=True).mean())


@functools.cache
def shared_lpips() -> Lpips:
    """Return the process's one metric, loaded at the first call, which says so where it is off."""
    metric = Lpips()
    if metric.reason:
        say("note", metric.reason)
    return metric
