"""The tests' own browser: what a page reports comes back, and what goes wrong in it is an error."""

from __future__ import annotations

import pytest

from tests.runtime.browser import PageError, run_page


def test_a_page_reports_its_result_and_reads_the_files_it_was_given(tmp_path):
    (tmp_path / "value.json").write_text('{"value": 42}')
    page = '<script type="module">report((await (await fetch("/files/value.json")).json()).value)</script>'
    assert run_page(page, {"files": tmp_path}, timeout_s=60) == 42


def test_a_script_that_fails_is_an_error_with_its_message():
    with pytest.raises(PageError, match="the lamp is out"):
        run_page("<script>throw new Error('the lamp is out')</script>", timeout_s=60)


def test_a_page_that_never_reports_is_an_error():
    with pytest.raises(PageError, match="no result within 3 s"):
        run_page("<p>nothing to say</p>", timeout_s=3)


def test_webgl2_and_webgpu_run_without_a_gpu():
    page = """<script type="module">
    const gl = new OffscreenCanvas(4, 4).getContext("webgl2");
    const adapter = await navigator.gpu?.requestAdapter();
    const device = await adapter?.requestDevice();
    report({webgl2: gl !== null, webgpu: Boolean(device)});
    </script>"""
    assert run_page(page, timeout_s=60) == {"webgl2": True, "webgpu": True}
