"""What the kubelet and Prometheus ask of a pod: `/healthz`, `/readyz`, `/metrics`, on one port."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref import simple_server

import prometheus_client
from prometheus_client import registry

from pantograph import errors

Answer = Callable[[], str]
"""Why not, in a sentence; "" for yes."""


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Handler(simple_server.WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Probes:
    """Answers while entered. Raises `PantographError` where the port is taken."""

    def __init__(self, port: int, healthy: Answer, ready: Answer, metrics: registry.CollectorRegistry) -> None:
        self._answers = {"/healthz": healthy, "/readyz": ready}
        self._metrics = prometheus_client.make_wsgi_app(metrics)
        self._port = port
        self._server: simple_server.WSGIServer | None = None

    def __enter__(self) -> Probes:
        try:
            self._server = simple_server.make_server("", self._port, self._app, _Server, _Handler)
        except OSError as error:
            raise errors.PantographError(f"cannot listen on port {self._port}: {error.strerror}; choose another --port") from error
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics(environ, start_response)  # type: ignore[no-any-return]  # prometheus_client leaves it open
        answer = self._answers.get(path)
        if answer is None:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/healthz, /readyz or /metrics\n"]
        why = answer()
        status = "503 Service Unavailable" if why else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{why or 'ok'}\n".encode()]
