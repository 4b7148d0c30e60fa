"""Part disk of the reliability benchmark."""

from __future__ import annotations

from benchmarks.reliability.parts import Options


def run(options: Options) -> dict:
    """Measure and return rows and faults."""
    return {"rows": [], "faults": []}
