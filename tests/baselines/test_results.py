"""Records of codecs: what they say, where they are kept, and the curves they lie on."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from baselines.block_codecs import encode_bc7_bc5
from baselines.cache import ResultCache
from baselines.codecs import CODECS
from baselines.results import measure, measure_baselines
from baselines.summary import curves_of, summary_table
from tests.baselines.textures import material, run


def test_identical_output_is_null_in_json_and_identical_in_the_table():
    textures = material(16, 16, ("roughness",))
    result = run(textures, "bc7")
    result.decoded = textures.mips[0].copy()
    record = json.loads(json.dumps(measure(textures, result), allow_nan=False))
    assert record["psnr"] == {"overall": None, "roughness": None}
    assert record["ssim"]["roughness"] == pytest.approx(1) and record["normal_angle_deg"] is None
    table = summary_table([record])
    assert table.rows[0][list(table.header).index("PSNR dB")] == float("inf")


def test_kept_results_are_used_for_the_same_images_alone(tmp_path):
    cache, calls = ResultCache(tmp_path), []

    def get(textures):
        def encode():
            calls.append(textures.name)
            result = run(textures, "bc7")
            return measure(textures, result), result.decoded

        return cache.get(textures, "bc7", "linear", encode)

    textures = material(16, 16)
    first, kept = get(textures)
    again, kept_again = get(textures)
    assert (kept, kept_again, again, len(calls)) == (False, True, first, 1)
    assert np.array_equal(cache.decoded(first), run(textures, "bc7").decoded)
    textures.mips[0][0, 0, 0] ^= 255
    assert get(textures)[1] is False and len(calls) == 2


def test_kept_results_of_another_encoder_are_measured_again(tmp_path, monkeypatch):
    textures, cache = material(16, 16), ResultCache(tmp_path)

    def measured_again():
        calls = []
        codec = dataclasses.replace(
            CODECS["bc7+bc5"], encode=lambda *given: calls.append(given) or encode_bc7_bc5(*given)
        )
        monkeypatch.setitem(CODECS, codec.name, codec)
        (record,) = measure_baselines(textures, [codec.name], cache)
        assert record["encoder"] == codec.encoder("linear")
        return bool(calls)

    assert "own BC4" in CODECS["bc7+bc5"].encoder("linear") and "own" not in CODECS["bc7"].encoder("linear")
    assert (measured_again(), measured_again()) == (True, False)
    monkeypatch.setitem(CODECS, "bc7+bc5", dataclasses.replace(CODECS["bc7+bc5"], encoded_by=lambda _: "own BC4 0"))
    assert (measured_again(), measured_again()) == (True, False)
    (path,) = tmp_path.rglob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["encoder"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert (measured_again(), measured_again()) == (True, False)


def test_bc7_of_the_encoder_of_before_is_measured_again_and_the_encoder_is_named(tmp_path, monkeypatch, capsys):
    textures, cache = material(32, 32), ResultCache(tmp_path)
    before = "etcpak 0.9.15, texture2ddecoder 1.0.6"
    with monkeypatch.context() as patched:
        patched.setitem(CODECS, "bc7", dataclasses.replace(CODECS["bc7"], encoded_by=lambda _: before))
        (old,) = measure_baselines(textures, ["bc7"], cache)
    assert f"BC7 by {before}" in capsys.readouterr().out
    patched = dataclasses.replace(CODECS["bc7"], encoded_by=lambda setting: f"ispc-texcomp 1.0.1 {setting}")
    monkeypatch.setitem(CODECS, "bc7", patched)
    (new,) = measure_baselines(textures, ["bc7"], cache)
    out = capsys.readouterr().out
    assert old["encoder"] == before and new["encoder"] == "ispc-texcomp 1.0.1 linear"
    assert "(kept)" not in out and "BC7 by ispc-texcomp 1.0.1 linear" in out
    assert summary_table([new]).caption == "Encoded: BC7 by ispc-texcomp 1.0.1 linear."
    measure_baselines(textures, ["bc7"], cache)
    assert "(kept)" in capsys.readouterr().out


def test_trainings_of_other_length_lie_on_other_curves():
    def record(codec, label, bpp, psnr_db):
        return {
            "material": "m",
            "codec": codec,
            "label": label,
            "bpp": bpp,
            "psnr": {"overall": psnr_db},
            "random_access": True,
        }

    records = [
        record("astc", "ASTC 4x4", 8.0, 40.0),
        record("astc", "ASTC 8x8", 2.0, 30.0),
        record("neural-quality", "neural quality 5 bpp 60 s", 4.6, 38.0),
        record("neural-quality", "neural quality 10 bpp 60 s", 10.3, 42.0),
        record("neural-quality", "neural quality 5 bpp 600 s", 4.6, 39.0),
    ]
    assert curves_of(records) == {
        "astc": [(2.0, 30.0), (8.0, 40.0)],
        "neural quality 60 s": [(4.6, 38.0), (10.3, 42.0)],
        "neural quality 600 s": [(4.6, 39.0)],
    }
