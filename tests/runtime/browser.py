"""Headless Chromium for tests: a page from a loopback server that reports a JSON result, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--window-size=1024,768",
    # WebGPU and WebGL on the processor, where there is no GPU.
    "--enable-unsafe-webgpu",
    "--enable-unsafe-swiftshader",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--use-vulkan=swiftshader",
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".css": "text/css",
    ".png": "image/png",
}
REPORT = """<script>
window.report = (result) => fetch("/result", {method: "POST", body: JSON.stringify({result})});
const failed = (error) => fetch("/result", {method: "POST", body: JSON.stringify({error: String(error)})});
window.addEventListener("error", (event) => failed(event.error?.stack || event.message || event.target?.src));
window.addEventListener("unhandledrejection", (event) => failed(event.reason?.stack || event.reason));
</script>
"""


class PageError(AssertionError):
    """A script of the page failed, or no result came in time."""


def require_chromium() -> str:
    """Return the path of Chromium, or skip the test with the line to install it."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("needs Chromium: apt-get install chromium, or winget install Google.Chrome")


@dataclass(frozen=True)
class Browser:
    """A running browser."""

    process: subprocess.Popen
    log: Path

    def log_tail(self) -> str:
        """The end of what it logged."""
        return self.log.read_text("utf-8", "replace")[-3000:]


@contextlib.contextmanager
def chromium(url: str, *flags: str) -> Iterator[Browser]:
    """Run headless Chromium on a page, with a profile of its own, as long as the context lasts."""
    program = require_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "log.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *FLAGS, *flags, f"--user-data-dir={profile}", "--enable-logging=stderr", url],
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, as its helpers must end with it.
                start_new_session=os.name != "nt",
            )
            try:
                yield Browser(process, log)
            finally:
                if os.name != "nt":
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.wait()


def _handler(
    page: str, roots: Mapping[str, Path], results: queue.Queue[dict], missing: list[str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, code: int, kind: str, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:  # noqa: N802, the name that the base class calls
            path = unquote(urlsplit(self.path).path).lstrip("/")
            if not path:
                return self._answer(200, TYPES[".html"], (REPORT + page).encode())
            root, _, rest = path.partition("/")
            file = roots[root] / rest if root in roots else None
            if file is None or not file.is_file():
                if path != "favicon.ico":
                    missing.append(path)
                return self._answer(404, "text/plain", b"")
            return self._answer(200, TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, "text/plain", b"")
            results.put(json.loads(body))

    return Handler


def _wait(results: queue.Queue[dict], browser: Browser, timeout_s: float) -> dict:
    """Return what the page posts first, or an error where it or the browser does not live to."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with contextlib.suppress(queue.Empty):
            return results.get(timeout=0.5)
        if browser.process.poll() is not None:
            return {"error": f"the browser ended with code {browser.process.returncode}; log:\n{browser.log_tail()}"}
    return {"error": f"no result within {timeout_s} s; log:\n{browser.log_tail()}"}


def run_page(page: str, roots: Mapping[str, Path] | None = None, timeout_s: float = 120, flags: tuple = ()) -> object:
    """Open the HTML text `page` in headless Chromium and return what its script gives to `report(value)`, as JSON.

    `roots` maps the first part of a URL to the folder it stands for: {"three": folder} serves `/three/...`. Raises
    `PageError` where a script fails, a file is missing, or no result comes within `timeout_s` seconds; skips the test
    where there is no Chromium.
    """
    results: queue.Queue[dict] = queue.Queue()
    missing: list[str] = []
    handler = _handler(page, roots or {}, results, missing)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with chromium(f"http://127.0.0.1:{server.server_port}/", *flags) as browser:
                answer = _wait(results, browser, timeout_s)
        finally:
            server.shutdown()
    if "error" in answer:
        raise PageError(f"{answer['error']}" + (f"\nmissing: {', '.join(missing)}" if missing else ""))
    return answer["result"]
