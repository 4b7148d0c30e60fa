"""What an export is, in the same titled lines and figures for the console and for the report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from formats.figures import State, figure, show, show_db, stored_mips
from images.mips import mip_size
from reporting.console import console, say, with_unit
from utils.arguments import command_path


def _multiply_adds(network: Mapping) -> str:
    """Return how many multiply-adds a texel takes as shaders run it, and as the layers are stored."""
    stored, run = network["macs_per_texel"], network.get("macs_as_run")
    return f"{stored:,} multiply-adds" if run is None else f"{run:,} multiply-adds as run ({stored:,} as stored)"


def mip_label(manifest: Mapping, mip: int) -> str:
    """Return the size of a mip in texels, such as `512 x 512`."""
    width, height = mip_size(manifest["width"], manifest["height"], mip)
    return f"{width} x {height}"


def present_maps(manifest: Mapping) -> dict[str, bool]:
    """Return whether each map is present, in canonical order."""
    return {channel["name"]: channel["present"] for channel in manifest["channels"]}


def map_label(name: str, facts: Mapping) -> str:
    """Name a map, with what a manifest says of it beyond the usual: its depth, and what it holds instead.

    >>> map_label("displacement", {"depth": 16}), map_label("specular", {"depth": 8, "holds": "opacity"})
    ('displacement (16 bits)', 'specular (holds opacity)')
    """
    depth = facts.get("depth") or 8
    said = [f"holds {facts['holds']}"] if facts.get("holds") else []
    said += [{16: "16 bits", 32: "floating point"}.get(depth, f"{depth} bits")] if depth > 8 else []
    return f"{name} ({', '.join(said)})" if said else name


def time_text(times: Mapping[str, float]) -> str:
    """Write how time was spent: the sum, then each part of it, all in seconds.

    >>> time_text({"training": 61.25, "export": 2.5})
    '63.8 s: training 61.2 s, export 2.5 s'
    """
    return f"{sum(times.values()):.1f} s: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())


def beside_astc(manifest: Mapping) -> str:
    """Say in one line where an export stands beside ASTC at the same bits, as its manifest recorded it."""
    beside = manifest["beside_astc"]
    gain_db, blocks = beside["gain_db"], beside["astc"]
    rate = f"{beside['bpp']:.2f} bits per texel" if len(blocks) > 1 else "the nearest rate it has"
    measured = " and ".join(f"{each['psnr_db']:.2f} dB at {each['bpp']:.2f} ({each['blocks']})" for each in blocks)
    share = beside["texels"] / (manifest["width"] * manifest["height"])
    return f"{abs(gain_db):.2f} dB {'above' if gain_db >= 0 else 'below'} ASTC at {rate}, which has {measured}" + (
        "" if share >= 1 else f", on {share:.0%} of the texels"
    )


def view_command(folder: str | os.PathLike) -> str:
    """Return the command that shows a run folder or an exported folder in the viewer."""
    return f"python view.py --load_dir {command_path(folder)}"


def next_commands(run_dir: str | os.PathLike) -> list[tuple[str, str]]:
    """Return, titled, the commands that come after a run: look at it, and put it into an engine; and its choices."""
    return [
        ("look at it", view_command(run_dir)),
        ("put it into an engine", f"python export.py --load_dir {command_path(run_dir)} --engine unreal"),
        (
            "or with",
            "--engine unity, godot, three or gltf; for an engine of your own --shaders hlsl, glsl, wgsl, slang, "
            "metal, cuda or cpp",
        ),
    ]


def summary_lines(manifest: Mapping, times: Mapping[str, float] | None = None, span: str = "") -> list[tuple[str, str]]:
    """Return titles and texts with units of an export; `times` are seconds by what they were spent on.

    `span` says what part of the command they are, where that is not all of it.
    """
    raw_bpp = 8 * sum(channel["count"] for channel in manifest["channels"] if channel["present"])
    lines = [
        ("texels", f"{manifest['width']} x {manifest['height']}, {manifest['mips']} mips"),
        ("maps", ", ".join(map_label(entry["name"], entry) for entry in manifest["channels"] if entry["present"])),
    ]
    psnr = figure(manifest, "psnr", "overall", 0)
    if psnr is not State.NOT_MEASURED:
        lines.append(("PSNR", with_unit(psnr) + ", overall, finest mip"))
    used = figure(manifest, "psnr_used", "overall", 0)
    if manifest.get("mask") and used is not State.NOT_MEASURED:
        idle = manifest["mask"]["idle"]
        lines.append(("PSNR, used", f"{with_unit(used)}, the same without the {idle:.1%} of unused texels"))
    deep = [f"{name} {with_unit(figure(manifest, 'psnr_16bit', name, 0))}" for name in manifest.get("psnr_16bit", ())]
    if deep:
        lines.append(("PSNR in 16 bits", ", ".join(deep) + ", finest mip, 16-bit output"))
    for entry in manifest["channels"]:
        if entry.get("range"):
            low, high = entry["range"]
            lines.append((entry["name"], f"0 stands for {low:g} and 1 for {high:g}, the range of its file"))
    if manifest.get("beside_astc"):
        lines.append(("beside ASTC", beside_astc(manifest)))
    for title, metric, name, decimals, text in (
        ("SSIM", "ssim", "overall", 4, ", mean over the maps, finest mip"),
        ("normal error", "normal_angle_deg", "normal", 2, " degrees, mean over the finest mip"),
        ("FLIP", "flip", "diffuse", 4, ", diffuse, finest mip (0 is equal)"),
        ("LPIPS", "lpips", "diffuse", 4, ", diffuse, finest mip (0 is equal)"),
    ):
        value = figure(manifest, metric, name, 0)
        if not isinstance(value, State):
            lines.append((title, show(value, decimals) + text))
    obstacles = manifest.get("ue5_plugin_obstacles", []) or ["another format"]
    why = obstacles[0] + (f", and {len(obstacles) - 1} more in manifest.json" if len(obstacles) > 1 else "")
    lines += [
        (
            "size",
            f"{sum(entry['bytes'] for entry in manifest['files']):,} bytes: "
            + (
                f"{manifest['bpp_mips']:.2f} bits per texel with all mips, {manifest['bpp']:.2f} "
                "with the finest levels alone"
                if len(stored_mips(manifest)) == manifest["mips"]
                else f"{manifest['bpp']:.2f} bits per texel, no smaller mips are stored"
            ),
        ),
        (
            "compression ratio",
            f"{raw_bpp / manifest['bpp']:.1f} : 1 against the {raw_bpp} bits per texel of the 8-bit maps",
        ),
        (
            "runtime cost",
            f"{_multiply_adds(manifest['network'])} and {manifest.get('bytes_per_texel', 0):g} bytes fetched per texel",
        ),
        ("UE5 plugin", "reads these files" if manifest["ue5_plugin"] else f"does not read these files: {why}"),
    ]
    if times:
        lines.append(("time", time_text(times) + (span and f", {span}")))
    return lines


def quality_table(manifest: Mapping) -> Table:
    """Return PSNR (and SSIM where it was taken) per map and mip, as measured on the exported files."""
    measured = "PSNR in dB (SSIM)" if manifest.get("ssim") else "PSNR in dB"
    table = Table(title=f"{measured}, read back from the exported files; mip 0 is the finest", title_justify="left")
    table.add_column("mip", justify="right")
    table.add_column("texels", justify="right")
    deep = list(manifest.get("psnr_16bit", ()))
    for name in [*manifest["psnr"], *(f"{name}, 16 bits" for name in deep)]:
        table.add_column(name, justify="right")
    for mip in range(manifest["mips"]):
        cells = []
        for name in manifest["psnr"]:
            similarity = figure(manifest, "ssim", name, mip)
            cells.append(
                show_db(figure(manifest, "psnr", name, mip))
                + ("" if isinstance(similarity, State) else f" ({similarity:.4f})")
            )
        cells += [show_db(figure(manifest, "psnr_16bit", name, mip)) for name in deep]
        table.add_row(str(mip), mip_label(manifest, mip), *cells)
    return table


def print_lines(lines: Iterable[tuple[str, object]]) -> None:
    """Print titled lines."""
    for title, text in lines:
        say(title, text)


def print_summary(manifest: Mapping, folder: Path, times: Mapping[str, float] | None = None) -> None:
    """Print the end of a run or of an export: quality, size, cost, time, where the files are."""
    if manifest["psnr"]:
        console.print(quality_table(manifest))
    print_lines([*summary_lines(manifest, times), ("files", folder)])
