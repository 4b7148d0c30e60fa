"""The generated C++ compiled by the system's compiler: every preset, container and feature against the NumPy reader."""

from __future__ import annotations

import pytest

from benchmarks.cpp_program import build, decode
from runtime.shaders import generate
from tests.runtime.devices import require_compiler
from tests.runtime.exports import EXPORTS, FLOAT_ERROR, draw_points, expected, largest_error


@pytest.mark.parametrize("name", EXPORTS)
def test_the_compiled_decoder_equals_the_reader(exports, largest_errors, tmp_path, name):
    require_compiler()
    reader = exports.readable(name)
    shader = generate(reader, "cpp")
    source = tmp_path / "decoder.cpp"
    source.write_bytes(shader.code)
    points = draw_points(reader)
    error = largest_error(decode(build(source), shader, reader, points), expected(reader, points))
    largest_errors.setdefault("C++", {})[name] = error
    assert error < FLOAT_ERROR
