"""The device that trainings are timed on: what it is, and what it reaches at its best."""

from __future__ import annotations

import platform

import torch

from benchmarks.plain_trainer import wait


def hardware(device: torch.device) -> dict[str, object]:
    """Name the device and the software that ran."""
    names = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
            **names,
        }
    return {"name": platform.processor() or platform.machine(), **names}


def ceilings(device: torch.device, copy_bytes: int, side: int) -> dict[str, float]:
    """Measure what the device reaches: bytes/s of a copy of `copy_bytes`, FLOP/s of a bfloat16 product of `side`."""

    def best(run, repeats: int = 10) -> float:
        run()
        times = []
        for _ in range(repeats):
            start = wait(device)
            run()
            times.append(wait(device) - start)
        return min(times)

    source = torch.zeros(copy_bytes // 4, device=device)
    target = torch.empty_like(source)
    copy_s = best(lambda: target.copy_(source))
    a = torch.randn(side, side, device=device).to(torch.bfloat16)
    product_s = best(lambda: torch.mm(a, a))
    return {"copy_bytes_per_s": 2 * copy_bytes / copy_s, "bf16_flop_per_s": 2 * side**3 / product_s}
