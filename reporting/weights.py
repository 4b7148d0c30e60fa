"""Pretrained weights of torchvision: found in the torch hub cache, or downloaded once without ever hanging."""

from __future__ import annotations

import hashlib
import queue
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from utils.errors import UserError
from utils.files import written_aside

CONNECT_TIMEOUT_S = 5.0
"""Longest wait for the server to answer, and for each piece of the file."""
_failed: dict[str, str] = {}


def _is_intact(path: Path, name: str) -> bool:
    """Tell whether the SHA-256 of a file begins with the digits that `name` ends in (`name-0123abcd.pth`)."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest().startswith(Path(name).stem.rpartition("-")[2])


def _open(url: str) -> object:
    """Open a URL within `CONNECT_TIMEOUT_S`; a thread, because a name look-up obeys no timeout of its own."""
    answer: queue.Queue = queue.Queue()

    def connect() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S))
        except OSError as error:
            answer.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        response = answer.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        raise TimeoutError("no answer") from None
    if isinstance(response, OSError):
        raise response
    return response


def ensure_weights(url: str, download: bool = True) -> str:
    """Put the file of `url` into the torch hub cache if it is not there; return "", or one line why it is not and how.

    A download is tried once per process. The file's SHA-256 is checked against its name, as torch hub does.
    """
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlsplit(url).path).name
    cure = f"download {url} to {folder}"
    if path.is_file():
        return "" if _is_intact(path, path.name) else f"{path} is damaged; delete it and {cure}"
    if not download:
        return f"its weights are not there; {cure}"
    if url in _failed:
        return _failed[url]
    try:
        with _open(url) as response, written_aside(path) as aside:
            with aside.open("wb") as file:
                while piece := response.read(1 << 20):
                    file.write(piece)
            if not _is_intact(aside, path.name):
                raise OSError("the download is damaged")
        return ""
    except (OSError, UserError) as error:
        _failed[url] = f"its weights could not be downloaded ({getattr(error, 'reason', None) or error}); {cure}"
        return _failed[url]
