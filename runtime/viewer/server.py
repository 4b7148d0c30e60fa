"""The viewer's web server: the loopback address alone, and only the addresses that a `Site` lists."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runtime.viewer.site import Site
from utils.errors import UserError, describe_os_error

HOST = "127.0.0.1"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "wgsl": "text/plain; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        """Seconds after which a connection that sends nothing is dropped."""
        server: ThreadingHTTPServer

        def log_message(self, format: str, *args: object) -> None:
            """The terminal shows the address alone."""

        def _answer(self, code: int, content_type: str, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(data)))
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _refuse(self, code: int, reason: str) -> None:
            self._answer(code, "text/plain; charset=utf-8", reason.encode("utf-8"))

        def do_GET(self) -> None:  # noqa: N802, the name that the base class calls
            # A page of another site whose name was made to resolve to this address still sends that name.
            port = self.server.server_port
            if self.headers.get_all("Host") not in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
                return self._refuse(403, "this server answers to its loopback address alone")
            # No file is looked for by what a request says: an address is in the list, letter by letter, or unknown.
            address = self.path.partition("?")[0].partition("#")[0].removeprefix("/") or "index.html"
            content = site.contents.get(address)
            if content is None:
                return self._refuse(404, "no such address")
            try:
                data = content()
            except UserError as error:
                return self._refuse(500, str(error))
            except OSError as error:
                return self._refuse(500, describe_os_error(error, "the viewer's files"))
            return self._answer(200, TYPES.get(address.rpartition(".")[2], "application/octet-stream"), data)

        do_HEAD = do_GET  # noqa: N815

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a connection early is no fault; any other error is a bug and keeps its traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def open_server(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """Return a server for a site that listens on the loopback address; port 0 takes a free one.

    Raises `UserError` where the port cannot be had.
    """
    try:
        return _Server((HOST, port), _handler(site))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used ({error.strerror}); choose another, or 0 for a free one"
        ) from error


def serve(site: Site, port: int, ready: Callable[[str], bool]) -> None:
    """Answer until the process is interrupted; `ready` gets the page's address and says whether to answer at all.

    Raises as `open_server`.
    """
    with open_server(site, port) as server:
        if ready(f"http://{HOST}:{server.server_port}/"):
            server.serve_forever(poll_interval=0.1)
