"""Quality figures of a manifest are told apart by state, also in manifests of earlier releases."""

from __future__ import annotations

import math

from formats.figures import State, figure, figure_list, show, show_db

MANIFEST = {
    "mips": 4,
    "dds_mips": True,
    "grids": [{"n_levels": 2}],
    "mip_levels": [[1], [0], [0], [0]],
    "psnr": {"overall": [36.2, None, 40.0, 41.0], "normal": [None, None, 30.0, 31.0]},
    "ssim": {"overall": [0.9, None]},
    "normal_angle_deg": [None, None, 2.0],
    "flip": {"diffuse": [0.1]},
}


def test_a_number_is_a_value_and_null_is_identical():
    assert figure(MANIFEST, "psnr", "overall", 0) == 36.2
    assert figure(MANIFEST, "psnr", "overall", 1) is State.IDENTICAL
    assert figure(MANIFEST, "ssim", "overall", 1) is State.IDENTICAL
    assert figure(MANIFEST, "normal_angle_deg", "", 0) is State.IDENTICAL
    assert figure(MANIFEST, "flip", "diffuse", 0) == 0.1


def test_a_mip_that_the_files_hold_but_no_list_reaches_is_not_measured():
    assert figure(MANIFEST, "ssim", "overall", 2) is State.NOT_MEASURED
    assert figure(MANIFEST, "normal_angle_deg", "", 3) is State.NOT_MEASURED
    assert figure({**MANIFEST, "psnr": {}}, "psnr", "overall", 0) is State.NOT_MEASURED
    assert figure(MANIFEST, "lpips", "diffuse", 0) is State.NOT_MEASURED


def test_a_mip_whose_levels_are_not_in_the_files_is_not_stored():
    finest = {**MANIFEST, "dds_mips": False, "psnr": {"overall": [36.2]}}
    assert figure(finest, "psnr", "overall", 0) == 36.2
    for kind in ("psnr", "ssim", "normal_angle_deg"):
        assert figure(finest, kind, "overall", 1) is State.NOT_STORED
    assert figure(MANIFEST, "psnr", "overall", 4) is State.NOT_STORED


def test_one_level_grids_hold_every_mip_also_where_only_the_finest_levels_are_stored():
    manifest = {**MANIFEST, "dds_mips": False, "grids": [{"n_levels": 1}], "mip_levels": [[0]] * 4}
    assert figure(manifest, "psnr", "overall", 3) == 41.0


def test_nulls_of_earlier_releases_are_not_taken_for_identical():
    older = {**MANIFEST, "dds_mips": False, "psnr": {"overall": [36.2, None, None, None]}}
    assert figure(older, "psnr", "overall", 1) is State.NOT_STORED
    older = {**MANIFEST, "ssim": {"overall": [0.9, 0.9, None, None]}}
    assert figure(older, "ssim", "overall", 2) is State.NOT_MEASURED


def test_a_list_ends_before_the_first_mip_without_a_figure():
    assert figure_list([36.0, math.inf, State.IDENTICAL, State.NOT_STORED, 40.0]) == [36.0, None, None]
    assert figure_list([0.5, State.NOT_MEASURED, 0.5]) == [0.5]
    assert figure_list([]) == figure_list([None, 1.0]) == []


def test_every_state_has_its_words():
    assert [show_db(value) for value in (36.206, math.inf, State.IDENTICAL, State.NOT_STORED, State.NOT_MEASURED)] == [
        "36.21",
        "identical",
        "identical",
        "not stored",
        "-",
    ]
    assert show(0.98765, 4) == "0.9877"
