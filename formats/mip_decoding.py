"""Decoding of whole mips in blocks of rows, on several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from formats.cell_decoding import plan_cells
from formats.lattice import Store, TexelDecoding
from formats.network import Workspace, one_matrix_thread
from formats.taps import MipModel
from utils.threads import processors

MOST_THREADS = 8
THREAD_TEXELS = 1 << 14
"""A further thread is worth starting for this many texels."""


def thread_count() -> int:
    """Return how many threads decode: the cores that this process may use, or OMP_NUM_THREADS where it is set."""
    return min(processors(), MOST_THREADS)


def decode_mip(model: MipModel, store: Store, progress: Callable[[int], None] | None = None) -> None:
    """Decode a mip and hand the outputs of its texels to `store`, in no particular order and from several threads.

    `progress` is called, from the calling thread, with the number of rows done since the last call.
    """
    decoding = plan_cells(model) or TexelDecoding(model)
    blocks = list(decoding.blocks())
    threads = min(thread_count(), len(blocks), max(1, model.width * model.height // THREAD_TEXELS))
    memory = threading.local()

    def run(block: slice) -> int:
        if not hasattr(memory, "workspace"):
            memory.workspace = Workspace()
        decoding.decode(block, store, memory.workspace)
        return block.stop - block.start

    def report(rows: Iterator[int]) -> None:
        for done in rows:
            if progress:
                progress(done)

    with one_matrix_thread():
        if threads == 1:
            report(map(run, blocks))
            return
        with ThreadPoolExecutor(threads) as pool:
            try:
                report(pool.map(run, blocks))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
