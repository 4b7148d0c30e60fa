"""What a run says on the terminal: titled, aligned lines, one progress bar, and a summary with units."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)


def say(title: str, text: object) -> None:
    """Print one titled line."""
    console.print(f"{title + ':':<22} {text}", markup=False)


def training_bar(total: int, done: int, title: str = "training") -> tqdm:
    """Return the training bar: iteration, time left, loss and PSNR; it stays silent where there is no terminal."""
    return tqdm(total=total, initial=done, desc=title, unit="it", dynamic_ncols=True,
                disable=None if console.is_terminal else True)


def decibels(value: float | None) -> str:
    """Format a PSNR; `None` (JSON's infinity) is exact equality."""
    return "exact" if value is None or math.isinf(value) else f"{value:.2f}"


def quality_table(manifest: dict) -> Table:
    """Return PSNR (and SSIM where it was taken) per map and mip, as measured on the exported files."""
    measured = "PSNR in dB (SSIM)" if manifest.get("ssim") else "PSNR in dB"
    table = Table(title=f"{measured}, read back from the exported files", title_justify="left")
    table.add_column("mip", justify="right")
    table.add_column("texels", justify="right")
    for name in manifest["psnr"]:
        table.add_column(name, justify="right")
    for mip in range(len(manifest["psnr"]["overall"])):
        width, height = max(manifest["width"] >> mip, 1), max(manifest["height"] >> mip, 1)
        cells = []
        for name, values in manifest["psnr"].items():
            similarity = manifest.get("ssim", {}).get(name, [])
            similarity = similarity[mip] if mip < len(similarity) else None
            cells.append(decibels(values[mip]) + (f" ({similarity:.4f})" if similarity is not None else ""))
        table.add_row(str(mip), f"{width} x {height}", *cells)
    return table


def print_summary(manifest: dict, folder: Path, texel_bits: int, training_time_s: float) -> None:
    """Print the end of a run: quality, size, cost, time, where the files are."""
    console.print(quality_table(manifest))
    angle = manifest.get("normal_angle_deg")
    if isinstance(angle, list) and angle and angle[0] is not None:
        say("normal error", f"{angle[0]:.2f} degrees, mean over mip 0")
    say("size", f"{manifest['bpp']:.2f} bits per texel finest level, {manifest['bpp_mips']:.2f} with all mips")
    say("compression ratio", f"{texel_bits / manifest['bpp']:.1f} : 1 against the {texel_bits} bits per texel of the "
                             "8-bit maps")
    say("runtime cost", f"{manifest['network']['macs_per_texel']} multiply-adds and "
                        f"{manifest['bytes_per_texel']:g} bytes fetched per texel")
    say("UE5 plugin", "reads these files" if manifest["ue5_plugin"] else
        f"does not read these files: {'; '.join(manifest['ue5_plugin_obstacles'])}")
    say("training time", f"{training_time_s:.1f} s")
    say("files", folder)
