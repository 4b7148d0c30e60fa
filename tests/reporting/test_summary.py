"""What the console says of an export: one wording, units, and states instead of numbers that are not there."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from reporting.console import decibels, with_unit
from reporting.summary import quality_table, summary_lines
from tests.reporting.test_report import PRESENT


def _manifest(**more):
    return {
        "width": 8,
        "height": 4,
        "mips": 3,
        "bpp": 6.0,
        "bpp_mips": 8.0,
        "ue5_plugin": True,
        "channels": [
            {"name": name, "count": 3 if name in ("diffuse", "normal") else 1, "present": there}
            for name, there in PRESENT.items()
        ],
        "grids": [{"n_levels": 3}],
        "mip_levels": [[2], [1], [0]],
        "files": [{"name": "a.dds", "bytes": 1024}],
        "network": {"macs_per_texel": 4096},
        "bytes_per_texel": 16.0,
        "psnr": {"overall": [31.25, None, 40.0], "diffuse": [31.25, None, 40.0]},
        **more,
    }


def _printed(manifest):
    console = Console(file=io.StringIO(), width=160)
    console.print(quality_table(manifest))
    return console.file.getvalue()


def test_a_quality_table_tells_values_identical_and_not_stored_apart():
    lines = _printed(_manifest()).splitlines()
    rows = [line for line in lines if " x " in line]
    assert [words in row for words, row in zip(("31.25", "identical", "40.00"), rows)] == [True] * 3
    alone = _manifest(dds_mips=False, psnr={"overall": [None], "diffuse": [None]})
    rows = [line for line in _printed(alone).splitlines() if " x " in line]
    assert "identical" in rows[0] and "not stored" in rows[1] and "not stored" in rows[2]
    assert "exact" not in _printed(alone)


@pytest.mark.parametrize("value, text", [(None, "identical"), (math.inf, "identical"), (40.126, "40.13")])
def test_identical_has_one_wording_wherever_it_comes_from(value, text):
    assert decibels(value) == text


def test_the_size_of_an_export_without_mips_says_that_there_are_none():
    alone = _manifest(dds_mips=False, bpp_mips=6.0)
    assert dict(summary_lines(alone))["size"] == ("1,024 bytes: 6.00 bits per texel, no smaller mips are stored")


def test_times_that_are_not_all_of_a_run_say_until_when():
    assert dict(summary_lines(_manifest(), {"training": 60.0}, "until the report"))["time"] == (
        "60.0 s: training 60.0 s, until the report"
    )


@pytest.mark.parametrize("value, text", [(None, "identical"), (math.inf, "identical"), (40.126, "40.13 dB")])
def test_a_unit_stands_behind_numbers_alone(value, text):
    assert with_unit(value) == text


def test_summary_lines_have_units_and_name_the_mip_of_each_figure():
    lines = dict(
        summary_lines(
            _manifest(ssim={"overall": [0.9876]}, normal_angle_deg=[2.5], flip={"diffuse": [0.05]}),
            {"training": 60.0, "export": 1.5},
        )
    )
    assert lines["PSNR"] == "31.25 dB, overall, finest mip"
    assert lines["SSIM"].startswith("0.9876") and "finest mip" in lines["SSIM"]
    assert lines["normal error"].startswith("2.50 degrees") and lines["FLIP"].startswith("0.0500")
    assert lines["size"] == "1,024 bytes: 8.00 bits per texel with all mips, 6.00 with the finest levels alone"
    assert lines["compression ratio"].startswith("9.3 : 1 against the 56 bits per texel")
    assert lines["time"] == "61.5 s: training 60.0 s, export 1.5 s"


def test_figures_that_were_not_measured_have_no_line():
    lines = dict(summary_lines(_manifest(psnr={})))
    assert not {"PSNR", "SSIM", "normal error", "FLIP", "LPIPS", "time"} & set(lines)
    identical = _manifest(psnr={"overall": [None]})
    assert dict(summary_lines(identical))["PSNR"] == "identical, overall, finest mip"
