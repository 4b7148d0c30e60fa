"""A page of headless Chromium driven over the DevTools protocol: scripts, clicks, keys, drags, screenshots."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.browser import PageError, chromium


def require_websockets() -> Any:
    """Return the websockets client, or skip the test with the line to install it."""
    return pytest.importorskip("websockets.sync.client", reason="needs websockets: pip install websockets")


class Page:
    """One tab."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        """Exceptions and errors on the console so far."""
        for domain in ("Runtime", "Page", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, timeout_s: float = 120, **params: object) -> dict:
        """Call a method of the protocol and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        end = time.monotonic() + timeout_s
        while True:
            try:
                message = json.loads(self._socket.recv(timeout=max(end - time.monotonic(), 0.01)))
            except TimeoutError:
                raise PageError(f"no answer to {method} within {timeout_s} s; errors: {self.errors}") from None
            self._note(message)
            if message.get("id") == self._number:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']}")
                return message["result"]

    def _note(self, message: dict) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def run(self, script: str, timeout_s: float = 120) -> Any:
        """Evaluate an expression, awaiting promises, and return its value; raises `PageError` where it throws."""
        answer = self.call(
            "Runtime.evaluate", timeout_s, expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def wait(self, condition: str, timeout_s: float = 120) -> None:
        """Wait until a script's expression is true."""
        end = time.monotonic() + timeout_s

        def is_true() -> bool:
            try:
                return bool(self.run(condition))
            except PageError as error:
                # The page that was asked is just being left.
                if "context" in str(error):
                    return False
                raise

        while not is_true():
            if time.monotonic() > end:
                raise PageError(f"not within {timeout_s} s: {condition}; errors: {self.errors}")
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in CSS pixels, one device pixel each."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view and return its middle in CSS pixels."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """Send a mouse event: mousePressed, mouseMoved, mouseReleased or mouseWheel."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        """Click an element with the mouse."""
        x, y = self.middle(selector)
        self.drag((x, y), (x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place, move to another and release."""
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        if start != end:
            self.mouse("mouseMoved", *end, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)

    def key(self, key: str) -> None:
        """Press and release a key by its DOM name, such as ArrowRight."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def open_browser(*flags: str) -> Iterator[Page]:
    """Run headless Chromium with one empty tab; skips the test where Chromium or the client is missing."""
    connect = require_websockets().connect
    # Without ANGLE's own software renderer a WebGPU canvas has no picture to draw to.
    with chromium("about:blank", "--remote-debugging-port=0", "--use-angle=swiftshader", *flags) as browser:
        port_file = browser.log.parent / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not port_file.is_file() or not port_file.read_text().strip():
            if time.monotonic() > end:
                raise PageError(f"Chromium did not start; log:\n{browser.log_tail()}")
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        address = None
        while address is None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as answer:
                pages = [tab for tab in json.load(answer) if tab["type"] == "page"]
            address = pages[0]["webSocketDebuggerUrl"] if pages else None
            if time.monotonic() > end:
                raise PageError("Chromium opened no page")
        with connect(address, max_size=None, open_timeout=30, proxy=None) as socket:
            yield Page(socket)
