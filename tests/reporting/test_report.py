"""Reports and pictures: one self-contained file whose images decode, and pictures that show what they claim."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from reporting.charts import Series, line_chart
from reporting.pictures import amplified_error, contact_sheet, pick_regions, zoom_crops
from reporting.report import (
    Picture,
    Section,
    Table,
    format_cell,
    markdown_table,
    run_sections,
    training_section,
    write_report,
)

PRESENT = {"diffuse": True, "normal": True, "roughness": True, "occlusion": False, "metallic": False,
           "specular": False, "displacement": False}
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects attributes, text and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.images, self.references, self.text, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.references += [value for name, value in values.items() if name in ("src", "href", "srcset", "data")]
        if tag == "img":
            self.images.append(values["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _sets(height=40, width=48, seed=0):
    rng = np.random.default_rng(seed)
    reference = np.zeros((height, width, 11), np.uint8)
    reference[..., :7] = rng.integers(0, 256, (height, width, 7))
    decoded = reference.copy()
    decoded[..., :7] ^= 3
    return reference, decoded


def _manifest(width=48, height=40):
    channels = [("diffuse", 0, 3), ("normal", 3, 3), ("roughness", 6, 1), ("occlusion", 7, 1), ("metallic", 8, 1),
                ("specular", 9, 1), ("displacement", 10, 1)]
    return {"width": width, "height": height, "mips": 6, "bpp": 7.0, "bpp_mips": 9.0, "ue5_plugin": False,
            "channels": [{"name": name, "first": first, "count": count, "present": PRESENT[name]}
                         for name, first, count in channels],
            "files": [{"name": "hash_grid_0.dds", "bytes": 1500}, {"name": "network_data.npz", "bytes": 180}],
            "network": {"macs_per_texel": 512}, "bytes_per_texel": 32.0}


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
    reference, decoded = _sets()
    small = reference[::4, ::4], decoded[::4, ::4]
    history = [{"iteration": i, "psnr_db": 20 + i / 100, "loss": 1 / i, "time_s": i} for i in (100, 200, 300)]
    sections = run_sections(_manifest(), {0: reference, 2: small[0]}, {0: decoded, 2: small[1]}, history=history,
                            time_s=12.5, others={"BC7\n24.0 bpp": reference})
    write_report(tmp_path / "report.html", "Run <1> & more", sections)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open, "tags are left open"
    assert page.references and all(value.startswith("data:") for value in page.references)
    assert not re.search(r"https?://|@import|url\(|<script", text)
    assert sorted(_decode_images(page)) == ["png"] * 4 + ["svg+xml"] * 2
    words = " ".join(page.text)
    for expected in ("Run <1> & more", "8.0 : 1", "1,680", "512 multiply-adds and 32 bytes", "12.5 s", "0 (48 x 40)"):
        assert expected in words, expected


def test_text_from_outside_cannot_become_markup(tmp_path):
    write_report(tmp_path / "r.html", "<script>", [Section("<b>", ["<i>", Table(["<u>"], [["<s>"]], "<em>"), Picture(
        Image.new("RGB", (2, 2)), '"><img src=x>')])])
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.images) == 1 and page.references[0].startswith("data:")
    for word in ("<script>", "<b>", "<i>", "<u>", "<s>", "<em>"):
        assert word in page.text


def test_table_cells_have_units_digits_and_no_sentinels():
    assert [format_cell(cell) for cell in (1.005, 12345, None, float("inf"), True, "a")] == [
        "1.00", "12,345", "-", "identical", "yes", "a"]
    assert markdown_table(Table(["a", "b"], [["x|y", 1.5]])) == "| a | b |\n| --- | ---: |\n| x\\|y | 1.50 |\n"


def test_a_run_without_history_says_so():
    assert "no training curve" in training_section([]).blocks[0]
    assert "no training curve" in training_section([{"iteration": 1, "psnr_db": float("inf"), "loss": float("nan")}]
                                                   ).blocks[0]


def test_equal_data_give_equal_charts():
    series = [Series("a", [1, 2, 4], [30, 31, 33]), Series("b", [2], [32], dashed=True)]
    first = line_chart(series, "bits per texel", "dB", log_x=True)
    assert first == line_chart(series, "bits per texel", "dB", log_x=True)
    assert first != line_chart(series[:1], "bits per texel", "dB", log_x=True)


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
