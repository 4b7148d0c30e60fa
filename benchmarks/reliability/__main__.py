"""What can be trusted, measured: `python -m benchmarks.reliability [part ...] [--short] [--out FILE.json]`."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from baselines.hardware import hardware_name
from benchmarks.reliability.parts import PARTS, Options, part, table
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command
from utils.files import read_json, require_writable_folder, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run parts, print a table for each and write the results; returns 1 where a part found a fault, else 0."""
    parser = OneLineParser(prog="python -m benchmarks.reliability", description=__doc__.split("\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"{', '.join(f'{name}: {what}' for name, what in PARTS.items())}"
    )
    parser.add_argument("--short", action="store_true", help="few cases of every kind, as the tests run them")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--work", type=Path, help="folder for the files of the cases, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="JSON file for the results; parts that are not run stay as they are")
    options = parser.parse_args(argv)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        raise UsageError(f"{', '.join(unknown)} is no part; choose of {', '.join(PARTS)}")
    results = read_json(options.out) if options.out and options.out.exists() else {}
    if not isinstance(results, dict) or not isinstance(results.setdefault("parts", {}), dict):
        raise UsageError(f"{options.out} holds no results of this benchmark; give another file")
    if options.out:
        require_writable_folder(options.out.parent)
    found = 0
    for name in options.parts or PARTS:
        result = _run(name, options.work, options.short, options.seed)
        found += len(result["faults"])
        results["parts"][name] = result
        if options.out:
            write_json(options.out, results)
    if options.out:
        print(f"results: {options.out}")
    return 1 if found else 0


def _run(name: str, work: Path | None, short: bool, seed: int) -> dict:
    """Run one part in a folder of its own, print its table and return its result with hardware and time."""
    print(f"{name}: {PARTS[name]}", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="reliability_") as temporary:
        folder = require_writable_folder(work / name if work else temporary)
        try:
            result = part(name)(Options(folder.resolve(), short, seed))
        except Exception as error:  # the parts after it have to run, and what came before has to be written
            traceback.print_exc()
            result = {"rows": [], "faults": [f"the part broke off: {type(error).__name__}: {error}"]}
    result = {
        "hardware": hardware_name(),
        "short": short,
        "seed": seed,
        **result,
        "time_s": round(time.perf_counter() - started, 1),
    }
    print(table(result["rows"]))
    for fault in result["faults"]:
        print(f"fault: {fault}")
    print(f"{len(result['faults'])} faults, {result['time_s']:.1f} s\n", flush=True)
    return result


if __name__ == "__main__":
    run_command(main)
