"""Reports and charts: one self-contained file whose images decode and whose figures are the manifest's."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from reporting.charts import Series, line_chart, log_ticks
from reporting.pictures import amplified_error, contact_sheet, contact_sheets, pick_regions, zoom_crops
from reporting.quality import error_figures, similarity_figures
from reporting.report import Command, Picture, Section, Table, format_cell, markdown_table, write_report
from reporting.sections import RunRecord, run_sections, training_section

PRESENT = {
    "diffuse": True,
    "normal": True,
    "roughness": True,
    "occlusion": False,
    "metallic": False,
    "specular": False,
    "displacement": False,
}
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects attributes, text and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.images, self.references, self.text, self.open, self.rows = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.references += [value for name, value in values.items() if name in ("src", "href", "srcset", "data")]
        if tag == "img":
            self.images.append(values["src"])
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def _sets(height=40, width=48, seed=0):
    rng = np.random.default_rng(seed)
    reference = np.zeros((height, width, 11), np.uint8)
    reference[..., :7] = rng.integers(0, 256, (height, width, 7))
    decoded = reference.copy()
    decoded[..., :7] ^= 3
    return reference, decoded


def _manifest(references, decoded, **more):
    height, width = references[0].shape[:2]
    channels = [
        ("diffuse", 0, 3),
        ("normal", 3, 3),
        ("roughness", 6, 1),
        ("occlusion", 7, 1),
        ("metallic", 8, 1),
        ("specular", 9, 1),
        ("displacement", 10, 1),
    ]
    return {
        "width": width,
        "height": height,
        "mips": len(references),
        "bpp": 7.0,
        "bpp_mips": 9.0,
        "ue5_plugin": False,
        "ue5_plugin_obstacles": ["grid 0 has gather interpolation"],
        "channels": [
            {"name": name, "first": first, "count": count, "present": PRESENT[name]} for name, first, count in channels
        ],
        "grids": [{"n_levels": 3}],
        "mip_levels": [[2], [1], [0]][: len(references)],
        "files": [{"name": "hash_grid_0.dds", "bytes": 1500}, {"name": "network_data.npz", "bytes": 180}],
        "network": {"macs_per_texel": 512},
        "bytes_per_texel": 32.0,
        "sources": {"diffuse": "wall_albedo.png"},
        "notices": ["skipped wall.gif: this format is not read"],
        **error_figures(references, decoded, PRESENT),
        **similarity_figures(references, decoded, PRESENT),
        **more,
    }


def _mips():
    """Three mips; the second one decodes exactly."""
    references, decoded = {}, {}
    for mip, (height, width) in enumerate(((40, 48), (20, 24), (10, 12))):
        references[mip], decoded[mip] = _sets(height, width, mip)
    decoded[1] = references[1]
    return references, decoded


def _decode_images(page):
    kinds = []
    for source in page.images:
        kind, data = re.fullmatch(r"data:image/(png|svg\+xml);base64,([A-Za-z0-9+/=]+)", source).groups()
        raw = base64.b64decode(data, validate=True)
        if kind == "png":
            with Image.open(io.BytesIO(raw)) as image:
                image.load()
        else:
            assert ElementTree.fromstring(raw).tag.endswith("svg")
        kinds.append(kind)
    return kinds


def test_a_run_report_is_self_contained_and_every_image_decodes(tmp_path):
    references, decoded = _mips()
    history = [{"iteration": i, "psnr_db": 20 + i / 100, "loss": 1 / i, "time_s": i} for i in (100, 200, 300)]
    record = RunRecord(
        {"train": {"max_iter": 300}},
        "python train.py --data_dir wall",
        ["outputs/a", "outputs/b"],
        history,
        {"training": 12.5, "export": 0.5},
    )
    sections = run_sections(
        _manifest(references, decoded), references, decoded, record, others={"BC7\n24.0 bpp": references[0]}
    )
    write_report(tmp_path / "report.html", "Run <1> & more", sections)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open, "tags are left open"
    assert page.references and all(value.startswith("data:") for value in page.references)
    assert not re.search(r"https?://|@import|url\(|<script", text)
    assert sorted(_decode_images(page)) == ["png"] * 5 + ["svg+xml"] * 2
    words = " ".join(page.text)
    for expected in (
        "Run <1> & more",
        "8.0 : 1",
        "1,680",
        "512 multiply-adds and 32 bytes",
        "training 12.5 s",
        "0: 48 x 40",
        "2: 12 x 10",
        "wall_albedo.png",
        "skipped wall.gif",
        "train.max_iter",
        "python train.py --data_dir wall",
        "Resumed from outputs/b, which was resumed from outputs/a",
    ):
        assert expected in words, expected


def _quality_rows(tmp_path, manifest, references, decoded):
    """The rows of the PSNR table and of the SSIM table, by mip."""
    write_report(tmp_path / "report.html", "Run", run_sections(manifest, references, decoded))
    rows = Page((tmp_path / "report.html").read_text(encoding="utf-8")).rows
    heads = [index for index, row in enumerate(rows) if row and row[0] == "mip"]
    tables = [rows[start:end] for start, end in zip(heads, [*heads[1:], None])]
    return [
        {row[0].split(":")[0]: dict(zip(table[0][1:], row[1:])) for row in table[1:] if ":" in row[0]}
        for table in tables
    ]


def test_the_figures_of_a_report_are_the_manifests_and_identical_mips_say_so(tmp_path):
    references, decoded = _mips()
    manifest = _manifest(references, decoded)
    psnr, ssim = _quality_rows(tmp_path, manifest, references, decoded)
    assert list(psnr) == ["0", "1", "2"] and list(ssim) == ["0", "1"]
    for name, values in manifest["psnr"].items():
        assert values[1] is None
        assert [psnr[mip][name] for mip in "012"] == [f"{values[0]:.2f}", "identical", f"{values[2]:.2f}"]
        assert [ssim[mip][name] for mip in "01"] == [f"{manifest['ssim'][name][0]:.4f}", "identical"]
    angles = manifest["normal_angle_deg"]
    assert [psnr[mip]["normal angle, degrees"] for mip in "012"] == [
        f"{angles[0]:.2f}",
        "identical",
        f"{angles[2]:.2f}",
    ]
    if "flip" in manifest:
        assert psnr["0"]["FLIP of diffuse"] == f"{manifest['flip']['diffuse'][0]:.4f}"


def test_a_mip_that_the_files_do_not_hold_shows_as_not_stored(tmp_path):
    references, decoded = _mips()
    decoded = {0: decoded[0]}
    manifest = _manifest(references, decoded, dds_mips=False)
    psnr, ssim = _quality_rows(tmp_path, manifest, references, decoded)
    assert psnr["0"]["overall"] == f"{manifest['psnr']['overall'][0]:.2f}"
    for mip in "12":
        assert set(psnr[mip].values()) == {"not stored"}
    assert list(ssim) == ["0", "1"] and set(ssim["1"].values()) == {"not stored"}, "mip 2 is too small for SSIM"
    assert "Not stored in the exported files: mip 1, 2." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_text_from_outside_cannot_become_markup(tmp_path):
    write_report(
        tmp_path / "r.html",
        "<script>",
        [
            Section(
                "<b>",
                [
                    "<i>",
                    Table(["<u>"], [["<s>"]], "<em>"),
                    Picture(Image.new("RGB", (2, 2)), '"><img src=x>'),
                    Command("<pre>"),
                ],
            )
        ],
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.images) == 1 and page.references[0].startswith("data:")
    for word in ("<script>", "<b>", "<i>", "<u>", "<s>", "<em>", "<pre>"):
        assert word in page.text


def test_table_cells_have_units_digits_and_no_sentinels():
    assert [format_cell(cell) for cell in (1.005, 12345, None, float("inf"), True, "a")] == [
        "1.00",
        "12,345",
        "-",
        "identical",
        "yes",
        "a",
    ]
    assert markdown_table(Table(["a", "b"], [["x|y", 1.5]])) == "| a | b |\n| --- | ---: |\n| x\\|y | 1.50 |\n"


def test_a_run_without_history_says_so():
    assert "no training curve" in training_section([]).blocks[0]
    assert (
        "no training curve"
        in training_section([{"iteration": 1, "psnr_db": float("inf"), "loss": float("nan")}]).blocks[0]
    )


def test_equal_data_give_equal_charts():
    series = [Series("a", [1, 2, 4], [30, 31, 33]), Series("b", [2], [32], dashed=True)]
    first = line_chart(series, "bits per texel", "dB", log_x=True)
    assert first == line_chart(series, "bits per texel", "dB", log_x=True)
    assert first != line_chart(series[:1], "bits per texel", "dB", log_x=True)


@pytest.mark.parametrize("low, high", [(0.0021, 0.0083), (0.003, 0.00301), (0.01, 0.4), (1e-6, 10), (5, 7), (0.9, 30)])
@pytest.mark.parametrize("base", [2, 10])
def test_a_logarithmic_axis_has_labels_however_short_it_is(low, high, base):
    ticks = log_ticks(low, high, base)
    assert len(ticks) >= 2 and all(low <= tick <= high for tick in ticks) and ticks == sorted(set(ticks))


@pytest.mark.parametrize("loss", [(0.0083, 0.0040, 0.0021), (0.5, 0.05, 0.005)])
def test_the_loss_chart_shows_numbers_on_both_axes(loss):
    history = [{"iteration": 100 * i, "psnr_db": 20.0, "loss": value} for i, value in enumerate(loss, 1)]
    svg = training_section(history).blocks[1].image.decode()
    labels = [float(text) for text in re.findall(r"<!-- ([\d.]+(?:e-?\d+)?) -->", svg)]
    assert len([label for label in labels if label < 1]) >= 2 and len([label for label in labels if label >= 100]) >= 2


def test_contact_sheets_are_lossless_pictures_of_every_decoded_mip():
    references, decoded = _mips()
    sheets = contact_sheets(references, {mip: decoded[mip] for mip in (0, 2)}, PRESENT)
    assert list(sheets) == [0, 2]
    for mip, png in sheets.items():
        assert (
            np.asarray(Image.open(io.BytesIO(png))) == np.asarray(contact_sheet(references[mip], decoded[mip], PRESENT))
        ).all()


def test_amplified_error_does_not_wrap_around():
    reference, decoded = np.array([[10, 200, 0]], np.uint8), np.array([[12, 190, 255]], np.uint8)
    assert amplified_error(reference, decoded, 8).tolist() == [[16, 80, 255]]


def test_contact_sheet_shows_reference_decoded_and_amplified_error():
    reference, decoded = np.zeros((1, 1, 11), np.uint8), np.zeros((1, 1, 11), np.uint8)
    reference[..., :3], decoded[..., :3] = (200, 100, 50), (190, 100, 55)
    sheet = np.asarray(contact_sheet(reference, decoded, {"diffuse": True}, error_factor=4))
    colors = {tuple(color) for color in sheet.reshape(-1, 3).tolist()}
    assert {(200, 100, 50), (190, 100, 55), (40, 0, 20)} <= colors


@pytest.mark.parametrize("height, width", [(1, 1), (3, 7), (300, 500), (500, 17)])
def test_contact_sheets_of_any_size_have_a_column_per_present_map(height, width):
    reference, decoded = _sets(height, width)
    one = contact_sheet(reference, decoded, {"roughness": True}, max_side=100)
    three = contact_sheet(reference, decoded, PRESENT, max_side=100)
    cell = max(1, min(width, 50) * 100 // max(width, height, 100))
    assert three.height == one.height and three.width > one.width + 2 * cell
    assert one.height < 3 * 130 + 60


def test_the_worst_region_holds_the_largest_error_and_the_typical_one_the_median():
    reference = np.zeros((256, 320, 11), np.uint8)
    decoded = reference.copy()
    decoded[..., 0] = 4
    decoded[:64, :64, 0] = 0
    decoded[128:192, 192:256, 6] = 90
    regions = pick_regions(reference, decoded, PRESENT, side=64)
    assert regions["worst"] == (slice(128, 192), slice(192, 256))
    rows, columns = regions["typical"]
    assert np.square(decoded[rows, columns].astype(float)).sum(axis=-1).mean() == 16


def test_errors_of_missing_maps_do_not_choose_the_region():
    reference = np.zeros((128, 128, 11), np.uint8)
    decoded = reference.copy()
    decoded[:64, :64, 8] = 255
    decoded[64:, 64:, 0] = 10
    assert pick_regions(reference, decoded, PRESENT, side=64)["worst"] == (slice(64, 128), slice(64, 128))


def test_zoomed_crops_are_enlarged_without_smoothing_and_have_a_column_per_codec():
    reference, decoded = _sets(20, 20)
    crops = zoom_crops(reference, {"ours\n5 bpp": decoded, "other": reference}, PRESENT, side=10, scale=40)
    assert set(crops) == {"worst", "typical"}
    rows, columns = pick_regions(reference, decoded, PRESENT, side=10)["worst"]
    corner = tuple(int(value) for value in reference[rows, columns][0, 0, :3])
    pixels = np.asarray(crops["worst"])
    matches = (pixels == corner).all(axis=-1)
    assert matches.sum() >= 40 * 40 and crops["worst"].width > 3 * 400
