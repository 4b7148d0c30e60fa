"""LPIPS: its weights are fetched when they are first needed, checked, never unpickled; without them a run goes on."""

from __future__ import annotations

import hashlib
import socket
import urllib.request

import numpy as np
import pytest

from reporting import lpips
from reporting.quality import perceptual_figures


def _noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A process that has fetched nothing yet, with an empty cache of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for cached in (lpips.missing_weights, lpips.shared_lpips):
        cached.cache_clear()
    yield
    for cached in (lpips.missing_weights, lpips.shared_lpips):
        cached.cache_clear()


def test_without_weights_lpips_is_off_and_says_so_once_with_cause_and_cure(capsys):
    images = {0: _noise((128, 130, 11))}
    assert perceptual_figures(images, images, {"diffuse": True}) == {}
    out = capsys.readouterr().out
    assert out.count("LPIPS is off") == 1 and out.count("\n") == 1
    assert "could not be downloaded" in out and lpips.WEIGHTS_URL in out
    assert perceptual_figures(images, images, {"diffuse": True}) == {}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("side, present", [(127, True), (128, False)])
def test_nothing_is_fetched_or_said_where_no_mip_is_measured(side, present, capsys):
    images = {0: _noise((side, 140, 11))}
    assert perceptual_figures(images, images, {"diffuse": present}) == {}
    assert capsys.readouterr().out == "" and lpips.missing_weights.cache_info().currsize == 0


def test_a_download_that_fails_is_tried_once(tmp_path):
    url = (tmp_path / "missing-0123abcd.pth").as_uri()
    first = lpips.missing_weights(url)
    assert "could not be downloaded" in first and "\n" not in first
    (tmp_path / "missing-0123abcd.pth").write_bytes(b"there now")
    assert lpips.missing_weights(url) == first


def test_a_server_that_never_answers_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(lpips, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(urllib.request, "_opener", urllib.request.build_opener(urllib.request.ProxyHandler({})))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reason = lpips.missing_weights(f"http://127.0.0.1:{silent.getsockname()[1]}/slow-0123abcd.pth")
    assert "could not be downloaded (no answer)" in reason or "timed out" in reason
    assert socket.getdefaulttimeout() is None


def test_a_download_says_so_and_is_kept_only_where_its_hash_fits_its_name(tmp_path, capsys):
    data = b"weights"
    good = tmp_path / f"good-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    bad = tmp_path / "bad-00000000.pth"
    for path in (good, bad):
        path.write_bytes(data)
    assert lpips.missing_weights(good.as_uri()) == ""
    out = capsys.readouterr().out
    assert "downloads its weights once" in out and good.name in out and out.count("\n") == 1
    folder = tmp_path / "home" / "hub" / "checkpoints"
    assert (folder / good.name).read_bytes() == data
    assert "invalid hash" in lpips.missing_weights(bad.as_uri())
    assert [path.name for path in folder.iterdir()] == [good.name]


def _cached_weights(monkeypatch, tmp_path, content):
    """Put a file into the cache as the weights that torchvision reads."""
    import torchvision

    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    name = f"alexnet-random-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    url = f"https://example.invalid/{name}"
    monkeypatch.setitem(vars(torchvision.models.AlexNet_Weights.DEFAULT.value), "url", url)
    monkeypatch.setattr(lpips, "WEIGHTS_URL", url)


def test_lpips_from_weights_in_the_cache_is_zero_for_equal_images(monkeypatch, tmp_path):
    import io

    import torch
    import torchvision

    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), buffer)
    _cached_weights(monkeypatch, tmp_path, buffer.getvalue())
    metric = lpips.Lpips()
    assert metric.reason == ""
    a, b = _noise((128, 130, 3), 1), _noise((128, 130, 3), 2)
    assert metric(a, a) == pytest.approx(0, abs=1e-6)
    assert metric(a, b) > 1e-4
    assert metric(a[:100], b[:100]) is None
    sets = [{0: np.dstack([image, _noise((128, 130, 8))]), 1: _noise((64, 65, 11))} for image in (a, b)]
    assert perceptual_figures(*sets, {"diffuse": True}) == {"lpips": {"diffuse": [pytest.approx(metric(a, b))]}}


def test_weights_that_would_run_code_are_refused(monkeypatch, tmp_path):
    victim = tmp_path / "victim"
    _cached_weights(monkeypatch, tmp_path, b"cbuiltins\nopen\n(S'" + str(victim).encode() + b"'\nS'w'\ntR.")
    assert "do not load" in lpips.Lpips().reason and not victim.exists()
