"""The viewer's server answers for its list of addresses alone, and to nobody but this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from PIL import Image

from runtime.viewer.materials import open_material
from runtime.viewer.server import open_server
from runtime.viewer.site import Site
from runtime.viewer.static import write_static
from tests.runtime.viewer.conftest import served
from utils.errors import UserError


def ask(address: str, target: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    """Send a request as it stands, nothing tidied: (status, body)."""
    port = urlsplit(address).port
    host = f"127.0.0.1:{port}" if host is None else host
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_the_page_its_files_and_the_material_are_served(address):
    assert b"<canvas" in ask(address, "/")[1]
    for name in ("index.html", "main.js", "style.css", "surface.wgsl", "materials.json", "materials/0/material.json"):
        assert ask(address, f"/{name}")[0] == 200, name
    assert ask(address, "/main.js?again=1")[0] == 200
    assert ask(address, "/index.html", method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    "target",
    [
        "/../server.py",
        "/../../../configs.py",
        "/page/../../server.py",
        "/..%2fserver.py",
        "/%2e%2e/server.py",
        "/..%252fserver.py",
        "/..\\server.py",
        "//etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "/C:/Windows/win.ini",
        "/server.py",
        "/materials/0/model.pth",
        "/materials/0/decoder/../model.pth",
        "/materials/0/decoder/model.pth",
        "/materials/0/config.json",
        "/materials/1/material.json",
        "/materials/",
        "/%00",
    ],
)
def test_nothing_else_is_served(address, target):
    status, body = ask(address, target)
    assert status == 404
    assert body == b"no such address"


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1", "127.0.0.1.example.com:80", "127.0.0.1:1", ""])
def test_a_name_that_was_made_to_resolve_here_is_refused(address, host):
    status, body = ask(address, "/materials.json", host=host)
    assert status in (400, 403)
    assert b"wall" not in body


def test_localhost_is_the_same_machine(address):
    assert ask(address, "/materials.json", host=f"localhost:{urlsplit(address).port}")[0] == 200


def test_nothing_can_be_sent(address):
    assert ask(address, "/materials.json", method="POST")[0] == 501
    assert ask(address, "/materials.json", method="PUT")[0] == 501


def test_it_listens_on_the_loopback_address_alone(material):
    with Site([material]) as site, open_server(site) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_ends_in_one_line(material):
    with Site([material]) as site, open_server(site) as server:
        with pytest.raises(UserError, match=f"port {server.server_port} cannot be used"):
            open_server(site, server.server_port)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_out_of_the_export_is_refused(material, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(material.folder, folder)
    outside = tmp_path / "outside.dds"
    (folder / "hash_grid_0.dds").rename(outside)
    (folder / "hash_grid_0.dds").symlink_to(outside)
    with pytest.raises(UserError, match="link that leads out of its folder"):
        open_material(folder)


def test_a_damaged_export_is_refused(material, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(material.folder, folder)
    data = bytearray((folder / "hash_grid_0.dds").read_bytes())
    data[-1] ^= 1
    (folder / "hash_grid_0.dds").write_bytes(data)
    with pytest.raises(UserError, match="SHA-256"):
        open_material(folder)


def test_what_cannot_be_made_is_one_sentence(run, images, tmp_path):
    copy = tmp_path / "wall"
    shutil.copytree(images, copy)
    material = open_material(run, data_dir=copy)
    with served(material) as url:
        shutil.rmtree(copy)
        with pytest.raises(urllib.error.HTTPError) as failure:
            urllib.request.urlopen(f"{url}materials/0/original/figures.json", timeout=60)
        text = failure.value.read().decode()
        assert failure.value.code == 500
        assert str(copy) in text and "\n" not in text


def test_sources_without_their_images_are_named_and_not_offered(run, tmp_path):
    material = open_material(run, data_dir=tmp_path)
    material.data_dir = tmp_path / "gone"
    with served(material) as url:
        with urllib.request.urlopen(f"{url}materials/0/material.json", timeout=60) as answer:
            sources = {source["id"]: source["missing"] for source in json.load(answer)["sources"]}
        assert ask(url, "/materials/0/bc7/figures.json")[0] == 404
    assert sources["baked"] == ""
    for name in ("original", "bc7", "astc"):
        assert "gone" in sources[name]


def test_a_request_that_is_no_address_leaves_no_trace(address, capfd):
    assert ask(address, "http://[::1")[0] == 404
    assert "Traceback" not in capfd.readouterr().err


def test_images_that_changed_since_are_not_taken_for_the_original(run, images, tmp_path):
    copy = tmp_path / "wall"
    shutil.copytree(images, copy)
    assert open_material(run, data_dir=copy).textures.width == 96
    file = next(copy.glob("*albedo*"), None) or next(path for path in copy.iterdir() if "displacement" not in path.name)
    with Image.open(file) as image:
        Image.new(image.mode, image.size).save(file)
    with pytest.raises(UserError, match="not those this run was measured on; put them back"):
        _ = open_material(run, data_dir=copy).textures


def test_a_published_folder_offers_only_what_lies_in_it(run, images, tmp_path):
    copy, out = tmp_path / "wall", tmp_path / "site"
    shutil.copytree(images, copy)
    with Site([open_material(run, data_dir=copy)]) as site:
        write_static(site, out)
    assert (out / "materials" / "0" / "original" / "figures.json").is_file()
    for file in copy.iterdir():
        with Image.open(file) as image:
            Image.new(image.mode, (image.width * 2, image.height * 2)).save(file)
    with Site([open_material(run, data_dir=copy)]) as site:
        write_static(site, out)
    description = json.loads((out / "materials" / "0" / "material.json").read_text(encoding="utf-8"))
    for source in description["sources"]:
        there = (out / "materials" / "0" / source["id"]).is_dir() or source["id"] == "neural"
        assert there == (source["missing"] == ""), source


def test_a_folder_of_that_name_which_no_viewer_wrote_is_left_alone(material, tmp_path):
    (tmp_path / "materials").mkdir()
    (tmp_path / "materials" / "own.txt").write_text("mine")
    with Site([material]) as site, pytest.raises(UserError, match="materials is not of an earlier viewer"):
        write_static(site, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["materials", "own.txt"]


def test_half_a_character_in_a_manifest_is_one_line(material, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(material.folder, folder)
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    changed = json.loads(text) | {"name": "X"}
    (folder / "manifest.json").write_text(json.dumps(changed).replace('"X"', '"a\\ud800"'), encoding="utf-8")
    with pytest.raises(UserError, match="manifest.json is not valid JSON"):
        open_material(folder)
