"""The results of `benchmarks.gpu` as Markdown."""

from __future__ import annotations

import math

LOWEST_DB = 10
COLUMNS = 12
"""Most levels in a table, the highest ones."""


def seconds_to_psnr(history: list[dict[str, float]]) -> dict[str, float]:
    """Return, per whole dB from 10 on, the training time of the first evaluation that reaches it.

    >>> seconds_to_psnr([{"time_s": 1.0, "psnr_db": 10.5}, {"time_s": 2.0, "psnr_db": 12.1}])
    {'10': 1.0, '11': 2.0, '12': 2.0}
    """
    times = {}
    for entry in history:
        if math.isfinite(entry["psnr_db"]):
            for level in range(LOWEST_DB, math.floor(entry["psnr_db"]) + 1):
                times.setdefault(str(level), entry["time_s"])
    return times


def table(results: dict) -> str:
    """Return the results as Markdown."""
    top = results["ceilings"]
    lines = [
        f"# Training speed on {results['hardware']['name']}",
        "",
        f"`{results['command']}`",
        "",
        f"Torch {results['hardware']['torch']}, CUDA {results['hardware']['cuda'] or '-'}; measured ceilings: "
        f"{top['copy_bytes_per_s'] / 1e9:.0f} GB/s copy, {top['bf16_flop_per_s'] / 1e12:.2f} TFLOP/s bf16. "
        "Arithmetic and grid traffic are estimates from the model's counts; the floor is the time that the "
        "ceilings leave for the larger of the two.",
        "",
        "| material | preset | trainer | batch | steps/s | Mtexels/s | TFLOP/s (of ceiling) | "
        "grid GB/s (of ceiling) | times the floor | set-up s | GiB | final dB |",
        "|" + "---|" * 12,
    ]
    for run in results["runs"]:
        held = "-" if run["held_bytes"] is None else f"{run['held_bytes'] / 2**30:.2f}"
        setup = "-" if run["setup_s"] is None else f"{run['setup_s']:.2f}"
        shares = run["flop_per_s"] / top["bf16_flop_per_s"], run["grid_bytes_per_s"] / top["copy_bytes_per_s"]
        lines.append(
            f"| {run['material']} | {run['preset']} | {run['trainer']} ({run['arithmetic']}) | {run['batch_size']:,} | "
            f"{run['steps_per_s']:.1f} | {run['texels_per_s'] / 1e6:.2f} | {run['flop_per_s'] / 1e12:.4f} "
            f"({shares[0]:.1%}) | {run['grid_bytes_per_s'] / 1e9:.2f} ({shares[1]:.1%}) | {1 / max(shares):.0f} | "
            f"{setup} | {held} | {run['history'][-1]['psnr_db']:.2f} |"
        )
    for material, preset in dict.fromkeys((run["material"], run["preset"]) for run in results["runs"]):
        runs = [run for run in results["runs"] if (run["material"], run["preset"]) == (material, preset)]
        levels = sorted({int(level) for run in runs for level in run["seconds_to_psnr"]})[-COLUMNS:]
        lines += [
            "",
            f"Seconds of training until the finest mip of {material} has this PSNR ({preset}):",
            "",
            "| dB | " + " | ".join(map(str, levels)) + " |",
            "|---|" + "---|" * len(levels),
        ]
        for run in runs:
            times = [run["seconds_to_psnr"].get(str(level)) for level in levels]
            lines.append(
                f"| {run['trainer']}, {run['batch_size']:,} | "
                + " | ".join("-" if seconds is None else f"{seconds:.1f}" for seconds in times)
                + " |"
            )
    lines.append("")
    if "at_once" in results:
        pair = results["at_once"]
        rates = ", ".join(f"{rate:.1f}" for rate in pair["together"])
        lines += [f"Two materials at once ({pair['trainer']}, ue5): {rates} steps/s, alone {pair['alone']:.1f}.", ""]
    lines += [f"- {note}." for note in results["notes"]]
    return "\n".join(lines).rstrip() + "\n"
