"""The runtime benchmark: which run counts, and rows of the compiled C++."""

from __future__ import annotations

from benchmarks.random_exports import preset
from benchmarks.runtime import CPP_FUNCTIONS, ENOUGH_S, TURNS, cpp_rows, least_ns
from formats.reader import NeuralTextureReader
from tests.runtime.devices import require_compiler, require_slangc
from training.exporting import export_material


def test_the_least_time_of_the_first_size_that_takes_long_enough_counts():
    seconds = {10: [ENOUGH_S / 100] * (TURNS + 1), 1000: [9, *[3 * ENOUGH_S] * (TURNS - 1), 2 * ENOUGH_S]}
    assert least_ns(lambda size: (size, seconds[size].pop(0)), [10, 1000, 100000]) == (2 * ENOUGH_S / 1000 * 1e9, 1000)


def test_the_largest_size_counts_where_none_takes_long_enough():
    assert least_ns(lambda size: (size, ENOUGH_S / 2), [10, 100]) == (ENOUGH_S / 2 / 100 * 1e9, 100)


def test_every_function_of_the_compiled_decoder_is_timed(tmp_path):
    require_slangc()
    require_compiler()
    export_material(preset("ue5", "packed", 64, 64), tmp_path / "export")
    rows = list(cpp_rows(NeuralTextureReader(tmp_path / "export"), tmp_path))
    assert [row["function"] for row in rows] == list(CPP_FUNCTIONS)
    assert all(0 < row["ns_texel"] < 1e9 and row["macs"] == {"texel": 384, "point": 384} for row in rows)
