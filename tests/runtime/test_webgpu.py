"""Generated WGSL run by wgpu: exact decoding, half precision, the hardware sampler, baked mips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.runtime_device import Decoder
from runtime.shaders import generate
from runtime.specialise import Options
from tests.runtime.devices import require_device
from tests.runtime.exports import (
    EXACT,
    FLOAT_ERROR,
    ON_SOFTWARE_GPUS,
    SAMPLE,
    SAMPLER_ERROR,
    STEP,
    TRILINEAR,
    assert_baked,
    draw_points,
    expected,
    largest_error,
)
from utils.errors import UserError


def decoder(reader, options: Options) -> Decoder:
    shader = generate(reader, "wgsl", options)
    return Decoder(shader, reader, shader.text, "NeuralTexture_Bake" if options.bake else "NeuralTexture_Decode")


@pytest.mark.parametrize(
    "name",
    ["preset quality", "mobile packed", "preset ue5", "mixed bits", "odd size", "clamped", *ON_SOFTWARE_GPUS[:3]],
)
def test_wgsl_equals_the_reader(exports, largest_errors, name):
    require_device()
    reader = exports(name)
    points = draw_points(reader)
    error = largest_error(decoder(reader, EXACT).decode(points), expected(reader, points))
    largest_errors.setdefault("wgsl (wgpu)", {})[name] = error
    assert error < FLOAT_ERROR


@pytest.mark.parametrize("name", ["mobile packed", "clamped", "linear order 3", "70 features"])
def test_half_precision_stays_within_one_step(exports, largest_errors, name):
    if "shader-f16" not in require_device().features:
        pytest.skip("the adapter has no half precision")
    reader = exports(name)
    points = draw_points(reader)
    error = largest_error(decoder(reader, replace(EXACT, half=True)).decode(points), expected(reader, points))
    largest_errors.setdefault("wgsl half (wgpu)", {})[name] = error
    assert error < STEP


def test_the_hardware_sampler_blends_taps(exports, largest_errors):
    require_device()
    reader = exports("preset ue5")
    points = draw_points(reader)
    points = points[np.isin(points["position"][:, 3], (SAMPLE, TRILINEAR))]
    error = largest_error(
        decoder(reader, Options(bake=False, decode=True, filter=True)).decode(points), expected(reader, points)
    )
    largest_errors.setdefault("wgsl, hardware sampler (wgpu)", {})["preset ue5"] = error
    assert error < SAMPLER_ERROR


@pytest.mark.parametrize("name", ["preset quality", "odd size", "linear order 3"])
def test_every_baked_mip_equals_the_readers_within_a_step(exports, name):
    require_device()
    reader = exports(name)
    baker = decoder(reader, Options(filter=False))
    for mip in reader.stored_mips:
        assert_baked(reader, mip, baker.bake(mip))


def test_formats_that_webgpu_lacks_are_refused_with_the_cure(exports):
    with pytest.raises(UserError, match="--storage packed"):
        generate(exports("preset mobile"), "wgsl")
