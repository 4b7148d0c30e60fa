"""What a group's result depends on, its record, and how a group begins that an earlier batch has left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from batch.content import differences, group_content
from batch.names import output_folders
from batch.record import GroupRecord, begin, checkpoints, export_of, read_record, write_record
from configs import Config, config_from_dict
from dataset import get_texture_config
from images.inputs import material_maps
from images.sources import MapSource
from tests.helpers import make_material
from utils.errors import UserError


@pytest.fixture
def wall(tmp_path):
    return make_material(tmp_path / "wall", 16, 16)


def content(folder, **sections):
    config = config_from_dict({"run": {"data_dir": str(folder)}, **sections})
    return group_content(config, material_maps(str(folder), list(get_texture_config())))


def record_of(content, **fields):
    return GroupRecord("wall", "wall", "running", content.files, content.maps, content.settings, **fields)


def test_bytes_and_names_of_what_is_read_count_and_other_files_do_not(wall):
    before = content(wall)
    (wall / "readme.txt").write_text("x")
    (wall / "wall_albedo.png").touch()
    assert differences(before, content(wall)) == []
    roughness = (wall / "wall_roughness.png").read_bytes()
    (wall / "wall_roughness.png").write_bytes(roughness + b"\0")
    assert differences(before, content(wall)) == ["wall_roughness.png has changed"]
    (wall / "wall_roughness.png").rename(wall / "wall_rough.png")
    assert differences(before, content(wall)) == ["wall_roughness.png is no longer read", "wall_rough.png is read now"]


def test_the_folder_may_move_and_how_a_map_is_read_counts(wall, tmp_path):
    before = content(wall)
    assert differences(before, content(wall.rename(tmp_path / "elsewhere"))) == []
    maps = material_maps(str(tmp_path / "elsewhere"), list(get_texture_config()))
    source = maps.sources["roughness"]
    config = config_from_dict({"run": {"data_dir": str(tmp_path / "elsewhere")}})
    for changed in (replace(source, inverted=True), replace(source, channel=1), replace(source, factor=(0.5,))):
        maps.sources["roughness"] = changed
        assert differences(before, group_content(config, maps)) == ["the roughness map is read in another way"]
    maps.sources["roughness"] = MapSource(source.file, reason="another reason")
    assert differences(before, group_content(config, maps)) == []


@pytest.mark.parametrize(
    "sections, expected",
    [
        ({"train": {"device": "cpu", "save_interval": 7, "keep_checkpoints": 1}}, []),
        ({"run": {"groups_max_workers": 3, "groups_resume": True, "save_dir": "x"}, "export": {"report": False}}, []),
        ({"train": {"max_iter": 50}}, ["early_stop_interval is 1000, was 2000", "max_iter is 50, was 10000"]),
        ({"train": {"seed": 1}}, ["seed is 1, was 0"]),
        ({"run": {"preset": "mobile"}}, ["preset is mobile, was ue5"]),
        ({"model": {"hash_grid_configs": [{"texels_per_cell": 8}]}}, ["hash_grid_configs differs"]),
        ({"export": {"storage": "packed"}}, ["storage is packed, was rgba8"]),
    ],
)
def test_settings_count_where_the_exported_files_depend_on_them(sections, expected, wall):
    run = {"data_dir": str(wall), **sections.get("run", {})}
    assert differences(content(wall), content(wall, **{**sections, "run": run})) == expected


def test_what_was_given_by_hand_counts_beside_a_target_alone(wall):
    maps = material_maps(str(wall), list(get_texture_config()))
    config = Config(run=replace(Config().run, data_dir=str(wall)))
    by_hand = replace(config, given=frozenset({"quantize_bits", "groups_resume"}))
    assert group_content(config, maps) == group_content(by_hand, maps)
    targets = [replace(one, model=replace(one.model, target_bpp=5.0)) for one in (config, by_hand)]
    assert differences(*(group_content(one, maps) for one in targets)) == ["given differs"]


def test_a_setting_that_an_older_record_does_not_have_counts_where_it_is_not_at_its_default(wall):
    now = content(wall, train={"seed": 5})
    older = replace(now, settings={name: value for name, value in now.settings.items() if name != "train.seed"})
    assert differences(older, now) == ["seed is 5, was 0"]
    older.settings["train.seed"] = 5
    del older.settings["train.optimizer"]
    assert differences(older, now) == []


def make_checkpoint(folder, run, iteration):
    path = Path(folder) / run / "models" / f"train_result_{iteration}" / "model.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    return path


def test_a_group_goes_on_from_the_newest_checkpoint_of_the_same_content(wall, tmp_path):
    out, now = tmp_path / "out", content(wall)
    make_checkpoint(out, "2025-01-01-00-00-00", 900)
    first = make_checkpoint(out, "2025-01-02-00-00-00", 90)
    later = make_checkpoint(out, "2025-01-02-00-00-00", 1000)
    newest = make_checkpoint(out, "2025-01-03-00-00-00", 1100)
    (out / "2025-01-04-00-00-00").mkdir()
    (out / "tensorboard").mkdir()
    earlier = ["2025-01-01-00-00-00"]
    write_record(out, record_of(now, earlier=earlier, time_s=7.5))
    found = begin(out, now, resume=True)
    assert (found.checkpoints, found.note, found.finished) == ([newest, later, first], "", None)
    assert (found.earlier, found.time_s) == (earlier, 7.5)
    # Anew where that is wanted, or the content is another: what is there counts as earlier from now on.
    names = ["2025-01-01-00-00-00", "2025-01-02-00-00-00", "2025-01-03-00-00-00", "2025-01-04-00-00-00"]
    anew = begin(out, now, resume=False)
    assert (anew.checkpoints, anew.note, anew.earlier) == ([], "", names)
    changed = begin(out, content(wall, train={"seed": 5, "mip_floor": 0.02, "tile_size": 8, "batch_size": 64}), True)
    assert (changed.checkpoints, changed.earlier) == ([], names)
    named = "batch_size is 64, was 16384, mip_floor is 0.02, was 0.01, seed is 5, was 0"
    assert changed.note == f"trained anew: {named} and 1 more"


def test_runs_without_a_record_or_with_a_damaged_one_are_trained_anew_and_said(wall, tmp_path):
    now = content(wall)
    assert begin(tmp_path / "none", now, resume=True).note == ""
    make_checkpoint(tmp_path, "2025-01-01-00-00-00", 900)
    assert "group.json" in begin(tmp_path, now, resume=True).note
    for text in ("{", "[]", "{}", '{"format": "neural-texture-group", "version": 1, "name": 3}', "\ud800"):
        (tmp_path / "group.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        found = begin(tmp_path, now, resume=True)
        assert found.note.startswith("trained anew: ") and not found.checkpoints and "\n" not in found.note


def test_a_record_comes_back_as_it_was_written(wall, tmp_path):
    record = record_of(content(wall), notices=["岩"], folder="a/b", cause="no")
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    # A field of a later version does no harm.
    values = json.loads((tmp_path / "group.json").read_text("utf-8"))
    (tmp_path / "group.json").write_text(json.dumps({**values, "later": 1}), "utf-8")
    assert read_record(tmp_path) == record


@pytest.mark.parametrize("folder", ["../other", "/etc", None])
def test_a_record_that_names_exports_elsewhere_is_refused(folder, wall, tmp_path):
    with pytest.raises(UserError, match="outside"):
        export_of(tmp_path, record_of(content(wall), folder=folder))


def test_a_group_that_was_finished_and_whose_export_is_gone_goes_on(wall, tmp_path):
    now, path = content(wall), make_checkpoint(tmp_path, "2025-01-01-00-00-00", 40)
    write_record(tmp_path, replace(record_of(now), state="done", folder="2025-01-01-00-00-00/models/train_result_40"))
    found = begin(tmp_path, now, resume=True)
    assert found.finished is None and found.checkpoints == [path] and found.note.startswith("was finished, but ")
    assert checkpoints(tmp_path, ["2025-01-01-00-00-00"]) == []


def test_output_folders_are_names_that_every_system_can_have_and_differ():
    names = [
        "a",
        "A",
        "con",
        "x/Aux.png",
        "what?",
        "what*",
        "tensorboard",
        "2025-01-31-12-00-00",
        "log.txt",
        "end. ",
        "岩/石",
    ]
    folders = output_folders(names)
    assert folders == [
        "a",
        "A_2",
        "con_",
        "x/Aux_.png",
        "what_",
        "what__2",
        "tensorboard_",
        "2025-01-31-12-00-00_",
        "log.txt_",
        "end__",
        "岩/石",
    ]
    long = output_folders(["x" * 300, "x" * 301])
    assert len(set(long)) == 2 and all(len(name) <= 120 for name in long)
    assert output_folders(["../../etc", "/abs", "..", "C:\\x"]) == ["__/__/etc", "abs", "__", "C__x"]
