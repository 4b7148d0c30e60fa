"""Rates before training, grids for a rate, a rate for a quality, and runs that fit a clock."""

import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

import train
from configs import N_CHANNELS, PRESETS, STORAGES, config_from_dict
from model.layout import model_layout
from tests.helpers import make_material
from training import flags as cli
from training.exporting import ExportSource, export_material
from training.header import planned_rate
from training.loss import present_channels
from training.rates import NEAR, WHOLE_CELLS, bytes_fetched, estimated_bpp, finest_level_bytes, plan_for_bpp
from training.search import MOST_BPP, _next_rate
from utils.errors import UsageError, UserError

PRESENT = {
    "diffuse": True,
    "normal": True,
    "roughness": True,
    "occlusion": False,
    "metallic": False,
    "specular": False,
    "displacement": True,
}


@pytest.mark.parametrize(
    "preset, storage",
    [
        *itertools.product(["ue5", "mobile"], STORAGES),
        *itertools.product(["quality", "realtime"], ["packed", "packed_rgba8"]),
    ],
)
def test_the_estimate_is_what_an_export_weighs(preset, storage, tmp_path):
    config = cli.make_config({"preset": preset, "storage": storage})
    layout = model_layout(config.model, 256, 256)
    grids = [
        [np.zeros((grid.resolution(level),) * 2 + (grid.n_features,), np.float32) for level in range(grid.n_levels)]
        for grid in layout.grids
    ]
    manifest = export_material(
        ExportSource(
            layout, grids, np.zeros(layout.n_weights, np.float32), PRESENT, "opengl", config.export.storage, True
        ),
        tmp_path,
    ).manifest
    estimate = estimated_bpp(layout, config.export.storage, len(present_channels(PRESENT)))
    assert estimate == pytest.approx(manifest["bpp"], rel=0.005)
    assert manifest["bytes_per_texel"] == bytes_fetched(layout, storage)


@pytest.mark.parametrize(
    "storage, grid_bpp, fetched",
    [("rgba8", 20, 64), ("true_rate", 10, 32), ("packed", 10, 32), ("packed_rgba8", 10, 32)],
)
def test_eight_features_of_four_bits_are_one_word_of_a_grid_texel(storage, grid_bpp, fetched):
    config = cli.make_config({"preset": "ue5", "quantize_bits": 4, "save_bits": 32})
    layout = model_layout(config.model, 1024, 1024)
    files = {"rgba8": 2, "true_rate": 2}.get(storage, 1)
    assert sum(finest_level_bytes(grid, storage) - 148 * files for grid in layout.grids) * 8 == grid_bpp * 1024**2
    assert bytes_fetched(layout, storage) == fetched


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (1024, 666), (4096, 4096), (2048, 1024)])
@pytest.mark.parametrize("target", [3, 5, 10, 16])
@pytest.mark.parametrize("preset", ["ue5", "quality", "realtime"])
def test_planned_grids_cost_about_what_was_asked(preset, target, size):
    config = cli.make_config({"preset": preset})
    model = plan_for_bpp(config.model, preset, *size, target, config.export.storage)
    layout = model_layout(model, *size)
    cost = estimated_bpp(layout, config.export.storage)
    # A linear decoder rather leaves some of the rate than whole cells.
    least, most = NEAR if layout.linear is None else WHOLE_CELLS
    assert least * target <= cost <= most * target
    assert ("asked;" in planned_rate(layout, target, config.export.storage)) == (cost < NEAR[0] * target)


def test_maps_that_are_missing_leave_more_of_a_rate_for_the_grids():
    config = cli.make_config({"preset": "realtime"})
    few, all_maps = (
        estimated_bpp(model_layout(config.model, 256, 256), "packed", n_outputs) for n_outputs in (3, N_CHANNELS)
    )
    assert all_maps - few > 0.5

    def grid_bits(n_outputs):
        model = plan_for_bpp(config.model, "realtime", 256, 256, few, "packed", n_outputs=n_outputs)
        return sum(sum(grid.bits) * grid.max_resolution**2 for grid in model_layout(model, 256, 256).grids)

    assert grid_bits(3) > grid_bits(N_CHANNELS)


def test_a_rate_below_the_decoders_is_refused():
    config = cli.make_config({"preset": "quality"})
    with pytest.raises(UsageError, match="decoder alone"):
        plan_for_bpp(config.model, "quality", 64, 64, 2.0, config.export.storage)


def planned(flags, size=(512, 512)):
    """The grids and the rate that a command line leads to."""
    config = cli.make_config(flags)
    model = plan_for_bpp(
        config.model, config.run.preset, *size, config.model.target_bpp, config.export.storage, config.given
    )
    return model.hash_grid_configs, estimated_bpp(model_layout(model, *size), config.export.storage)


@pytest.mark.parametrize("preset", ["ue5", "quality", "fast"])
@pytest.mark.parametrize("target", [1.5, 5, 12])
def test_grid_flags_hold_beside_a_target_rate(target, preset):
    grids, rate = planned(
        {
            "preset": preset,
            "target_bpp": target,
            "quantize_bits": 8,
            "save_bits": 32,
            "interpolation": "bilinear",
            "grid_learning_rate": 0.07,
        }
    )
    assert {(grid.quantize_bits, grid.save_bits, grid.interpolation, grid.learning_rate) for grid in grids} == {
        (8, 32, "bilinear", 0.07)
    }
    assert 0.85 * target <= rate <= NEAR[1] * target


def test_grid_flags_that_leave_no_grids_for_a_rate_are_named_with_it():
    with pytest.raises(UsageError, match="target_bpp 26 is too little .*--quantize_bits, --save_bits.*leave them out"):
        planned(
            {
                "target_bpp": 26,
                "n_neurons": 16,
                "n_hidden_layers": 0,
                "network_precision": "float16",
                "quantize_bits": 2,
                "save_bits": 64,
            },
            (32, 32),
        )


def test_grids_given_by_hand_keep_all_but_their_resolutions_beside_a_target_rate():
    given = [
        {
            "texels_per_cell": 4,
            "n_levels": 3,
            "quantize_bits": 2,
            "save_bits": 16,
            "interpolation": "gather",
            "learning_rate": 0.2,
        },
        {"texels_per_cell": 9.0, "quantize_bits": 8},
    ]
    grids, rate = planned({"preset": "quality", "target_bpp": 7, "hash_grid_configs": given})
    for grid, asked in zip(grids, given, strict=True):
        assert {name: getattr(grid, name) for name in asked} == asked
        assert grid.max_resolution
    assert NEAR[0] * 7 <= rate <= NEAR[1] * 7


def test_a_rate_far_above_the_texels_is_planned_or_said_to_be_out_of_reach():
    assert planned({"preset": "quality", "target_bpp": 1000}, (64, 64))[1] > WHOLE_CELLS[0] * 1000
    config = cli.make_config({"target_bpp": 1000})
    model = plan_for_bpp(config.model, "ue5", 16, 16, 1000, "rgba8")
    line = planned_rate(model_layout(model, 16, 16), 1000, "rgba8")
    assert re.fullmatch(r"about [5-8]\d\d\.\d\d bits per texel, 1000 asked; that is the most that fits.*", line)


@pytest.fixture
def material(tmp_path):
    """Smooth colour and roughness, 64 x 64."""
    folder = tmp_path / "material"
    folder.mkdir()
    ramp = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    wave = 128 + 90 * np.sin(ramp)[:, None] * np.cos(ramp)[None]
    Image.fromarray(np.stack([wave, wave.T, 255 - wave], -1).astype(np.uint8)).save(folder / "m_albedo.png")
    Image.fromarray(wave.astype(np.uint8)).save(folder / "m_roughness.png")
    return folder


def run(material, out, *flags):
    train.main(
        [
            "--data_dir",
            str(material),
            "--save_dir",
            str(out),
            "--tile_size",
            "16",
            "--batch_size",
            "1024",
            *map(str, flags),
        ]
    )
    (manifest,) = out.glob("2*/models/*/manifest.json")
    return json.loads(manifest.read_text("utf-8")), manifest.parent


def test_a_time_budget_ends_the_run_and_not_max_iter(material, tmp_path):
    # Long enough for some steps on a machine that has other things to do.
    manifest, folder = run(material, tmp_path / "out", "--time_budget", 4, "--eval_interval", 3)
    assert int(folder.name.removeprefix("train_result_")) > 3
    assert manifest["psnr"]["overall"][0] is not None


def test_a_run_whose_time_is_spent_asks_for_more_when_resumed(material, tmp_path):
    _, folder = run(material, tmp_path / "out", "--time_budget", 0.2)
    with pytest.raises(UsageError, match="raise --time_budget"):
        train.main(["--load_dir", str(folder.parent.parent)])


def test_an_output_that_cannot_be_written_is_found_before_the_search(material, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        run(material, tmp_path / "taken" / "out", "--target_psnr", 30, "--max_iter", 100)
    assert "search" not in capsys.readouterr().out


def test_a_target_rate_is_what_the_manifest_says_and_what_the_run_records(material, tmp_path):
    manifest, folder = run(material, tmp_path / "out", "--target_bpp", 12, "--max_iter", 20)
    assert 0.9 * 12 <= manifest["bpp"] <= 1.03 * 12
    recorded = json.loads((folder.parent.parent / "config.json").read_text("utf-8"))
    assert recorded["model"]["hash_grid_configs"][0]["max_resolution"] == manifest["grids"][0]["max_resolution"]


def test_a_target_quality_is_reached_by_the_rate_that_the_search_finds(material, tmp_path, capsys):
    manifest, _ = run(material, tmp_path / "out", "--target_psnr", 30, "--max_iter", 600, "--batch_size", 2048)
    reached = manifest["psnr"]["overall"][0]
    assert reached > 29.5
    out = " ".join(capsys.readouterr().out.split())
    assert f"target: {reached:.2f} dB reached, 30 asked" in out
    assert ("or a longer run gets there" in out) == (reached < 30)


def test_a_material_that_trials_reproduce_exactly_ends_the_search_with_a_rate(tmp_path, capsys):
    folder = tmp_path / "grey"
    folder.mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "m_roughness.png")
    manifest, _ = run(folder, tmp_path / "out", "--target_psnr", 60, "--max_iter", 1500)
    assert manifest["psnr"]["overall"][0] is None or manifest["psnr"]["overall"][0] > 55
    out = " ".join(capsys.readouterr().out.split())
    assert "nan" not in out and "trial: " in out and "search: trains at" in out


def test_flags_of_the_grids_hold_in_the_run_that_a_search_leads_to(material, tmp_path):
    manifest, _ = run(
        material, tmp_path / "out", "--target_psnr", 20, "--max_iter", 300, "--quantize_bits", 4, "--save_bits", 16
    )
    assert {(grid["quantize_bits"], grid["save_bits"]) for grid in manifest["grids"]} == {(4, 16)}


def test_a_target_quality_out_of_reach_says_so_before_any_run_is_written(material, tmp_path):
    with pytest.raises(UserError, match="out of reach"):
        run(material, tmp_path / "out", "--target_psnr", 90, "--max_iter", 100)
    assert not list((tmp_path / "out").glob("2*"))


@pytest.mark.parametrize(
    "preset, storage, expected",
    [
        ("ue5", "rgba8", 32),
        ("mobile", "rgba8", 64),
        ("mobile", "true_rate", 32),
        ("quality", "packed", 48),
        ("realtime", "packed", 32),
        ("quality", "packed_rgba8", 48),
        ("ue5", "packed", 32),
    ],
)
def test_bytes_fetched_are_those_of_four_taps_of_every_stored_texture(preset, storage, expected):
    layout = model_layout(config_from_dict(PRESETS[preset]).model, 64, 64)
    assert bytes_fetched(layout, storage) == expected


def test_a_target_quality_is_recorded_as_asked_with_the_grids_that_were_found(material, tmp_path, capsys):
    _, folder = run(material, tmp_path / "out", "--target_psnr", 20, "--max_iter", 60)
    run_dir = folder.parent.parent
    recorded = json.loads((run_dir / "config.json").read_text("utf-8"))["model"]
    assert (recorded["target_psnr"], recorded["target_bpp"]) == (20, None)
    assert all(grid["max_resolution"] for grid in recorded["hash_grid_configs"])
    out = capsys.readouterr().out
    # No trial is longer than the run.
    assert re.search(r"^trial: .* for 60 iterations", out, re.M) and "for 100 iterations" not in out
    train.main(["--load_dir", str(run_dir), "--save_dir", str(tmp_path / "on"), "--max_iter", "70"])
    out = capsys.readouterr().out
    assert "trial" not in out and "for a target_psnr of 20 dB" in out
    train.main(["--config", str(run_dir / "config.json"), "--save_dir", str(tmp_path / "again")])
    assert "trial" in capsys.readouterr().out


def test_a_material_whose_decoder_outweighs_all_rates_keeps_the_trial_that_reached_the_target(tmp_path):
    folder = make_material(tmp_path / "constant", constant=True)
    manifest, _ = run(folder, tmp_path / "out", "--preset", "quality", "--target_psnr", 45, "--max_iter", 100)
    assert manifest["bpp"] > MOST_BPP


@pytest.mark.parametrize("least", [MOST_BPP + 1, 300.0])
def test_no_rate_is_tried_where_the_decoder_leaves_no_room(least):
    assert _next_rate({2 * least: 60.0}, 45.0, least) is None
