"""The admin port: /livez, /readyz and /metrics, on loopback, served by the launcher's own process.

It is apart from the public port so that a flood there cannot hide how things are, and so that nobody
outside the machine reads metrics. Standard library only: three answers need no framework.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Each check answers "" when all is well and else what is not.
Checks = Mapping[str, Callable[[], str]]


@contextmanager
def serving(host: str, port: int, checks: Checks, metrics: str) -> Iterator[None]:
    """Serve the admin port for as long as the block runs.

    `checks` are what /readyz asks; `metrics` is the folder the workers write their metrics to.
    Raises `OSError` when the port cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version = "throughline"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/livez":
                self._say(HTTPStatus.OK, b"ok\n", "text/plain; charset=utf-8")
            elif path == "/readyz":
                found = {name: check() or "ok" for name, check in checks.items()}
                ready = all(state == "ok" for state in found.values())
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                body = json.dumps({"ready": ready, "checks": found}).encode() + b"\n"
                self._say(status, body, "application/json")
            elif path == "/metrics":
                registry = CollectorRegistry()
                MultiProcessCollector(registry, path=metrics)  # type: ignore[no-untyped-call]
                self._say(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)
            else:
                body = b"Here are /livez, /readyz and /metrics.\n"
                self._say(HTTPStatus.NOT_FOUND, body, "text/plain; charset=utf-8")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _say(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every few seconds."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="admin", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
