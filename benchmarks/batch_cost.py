"""What a large batch takes, by the measured times of a small one on one GPU or machine.

    python -m benchmarks.batch_cost --summary save_batch/summary.json --materials 10000 --devices 1 8

The small batch is trained as the large one would be: same sizes, settings and `--groups_max_workers`. A device that trains
W materials at a time ends one every (mean time of a material) / W; devices share the materials evenly and are not slowed
by each other, which holds where the shared folder delivers the images as fast as they are read. Starting, waiting for a
cluster and materials that fail are not counted.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from baselines.hardware import hardware_name
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import read_json, write_json


@dataclass(frozen=True)
class Measured:
    """What one device did."""

    materials: int
    sizes: list[str]
    """Sizes that occur, width x height in texels."""
    mean_s: float
    """Mean time of a material from its images to its exports, seconds, while `workers` were trained at a time."""
    slowest_s: float
    workers: int

    @property
    def seconds_per_material(self) -> float:
        """Time in which the device ends one material."""
        return self.mean_s / self.workers


def measured(summary: object) -> Measured:
    """Read the content of a batch's summary.json; raises `UserError` where it tells no times.

    Groups that were resumed count with the time of all their batches, as the summary has it.
    """
    try:
        if not isinstance(summary, Mapping):
            raise TypeError("no object")
        done = [group for group in summary["groups"] if group["state"] == "done"]
        times = [float(group["time_s"]) for group in done]
        sizes = sorted({f"{int(group['width'])} x {int(group['height'])}" for group in done})
        workers = int(summary["workers"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"no summary of a batch ({error!r}); give the summary.json of train.py --groups_batching"
        ) from error
    if len(done) < workers or not times or min(times) <= 0 or workers < 1:
        raise UserError(
            f"{len(done)} materials were trained, {workers} at a time; give the summary of a batch that trained more"
        )
    return Measured(len(done), sizes, statistics.mean(times), max(times), workers)


def hours(one: Measured, materials: int, devices: int) -> float:
    """Return the time that `devices` like the measured one take, hours.

    >>> hours(Measured(8, ["4096 x 4096"], 72.0, 80.0, 2), 10_000, 1)
    100.0
    >>> hours(Measured(8, ["4096 x 4096"], 72.0, 80.0, 2), 10_000, 8)
    12.5
    """
    return math.ceil(materials / devices) * one.seconds_per_material / 3600


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print and write the results."""
    parser = OneLineParser(prog="python -m benchmarks.batch_cost", description=__doc__.split("\n")[0])
    parser.add_argument("--summary", required=True, type=Path, help="summary.json of a batch on one device")
    parser.add_argument("--materials", type=int, default=10_000, help="materials of the large batch (default: 10000)")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 8], help="GPUs or machines (default: 1 8)")
    parser.add_argument("--hardware", help="what the device is; default: this machine")
    parser.add_argument("--out", help="JSON file for the results")
    options = parser.parse_args(argv)
    if min(options.materials, *options.devices) < 1:
        raise UsageError("--materials and --devices must be above 0; give whole numbers")
    one, hardware = measured(read_json(options.summary)), options.hardware or hardware_name()
    print(f"{'measured on':<24}{hardware}")
    print(
        f"{'measured':<24}{one.materials} materials of {', '.join(one.sizes)} texels, {one.workers} at a time, "
        f"{one.mean_s:.1f} s each ({one.slowest_s:.1f} s the slowest): one in {one.seconds_per_material:.1f} s"
    )
    table = {str(devices): hours(one, options.materials, devices) for devices in options.devices}
    for devices, time_h in table.items():
        print(
            f"{f'{devices} of these':<24}{time_h:,.1f} h ({time_h / 24:,.1f} days) for {options.materials:,} materials, "
            f"{time_h * int(devices):,.0f} device hours; estimated"
        )
    if options.out:
        content = {"hardware": hardware, "measured": asdict(one), "materials": options.materials, "hours": table}
        write_json(options.out, {"command": " ".join(["python -m benchmarks.batch_cost", *sys.argv[1:]]), **content})
        print(f"{'results':<24}{options.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
