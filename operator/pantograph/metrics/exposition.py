"""Metrics as Prometheus reads them, and the page that serves them. For the reflector's process and the operator's.

The text is written here and not by the library, whose objects cost a second for 500 Reflections with 80 series each;
this costs a tenth of that (`benchmarks.scrape`). What the process tells of itself comes from the library.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from types import TracebackType

import prometheus_client

from pantograph import errors
from pantograph.metrics import Histogram, Metric

Sample = tuple[Metric, str, float | Histogram]
"""A metric, its labels as `labelled` renders them, and its value."""


def escaped(value: str) -> str:
    """A label's value, or what stands between its quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def labelled(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels as they stand between the braces."""
    return ",".join(f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True))


def text(metrics: Sequence[Metric], samples: Iterable[Sample]) -> str:
    """The page: every metric with its samples, those that have none as well."""
    lines: dict[str, list[str]] = {
        metric.name: [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for metric in metrics
    }
    for metric, labels, value in samples:
        name, listed = metric.name, lines[metric.name]
        if isinstance(value, Histogram):
            buckets = value.cumulative()
            comma, braces = ("," if labels else ""), (f"{{{labels}}}" if labels else "")
            listed += [f'{name}_bucket{{{labels}{comma}le="{bound}"}} {count}' for bound, count in buckets]
            listed += [f"{name}_count{braces} {buckets[-1][1]}", f"{name}_sum{braces} {value.total!r}"]
        else:
            listed.append(f"{name}{{{labels}}} {value!r}" if labels else f"{name} {value!r}")
    return "\n".join(line for listed in lines.values() for line in listed) + "\n"


class Server:
    """Serves `/metrics` while entered: what `page` returns, and the process's own memory, CPU and garbage.

    answers: what the kubelet asks beside it, by path: why not, in a sentence, or "" for yes.
    """

    def __init__(
        self, page: Callable[[], str], port: int, address: str, answers: Mapping[str, Callable[[], str]] | None = None
    ) -> None:
        self._page, self._port, self._address, self._answers = page, port, address, answers or {}
        own = self._own = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=own)
        prometheus_client.GCCollector(registry=own)
        self._server: HTTPServer | None = None

    def __enter__(self) -> Server:
        try:
            self._server = _Server((self._address, self._port), _handler(self._whole, self._answers))
        except OSError as error:
            raise errors.PantographError(
                f"/metrics cannot listen on {self._address}:{self._port}: {error.strerror}; "
                "choose another --metrics-port"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _whole(self) -> bytes:
        return self._page().encode() + prometheus_client.generate_latest(self._own)


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def _handler(whole: Callable[[], bytes], answers: Mapping[str, Callable[[], str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30  # seconds for one who connects and says nothing

        def do_GET(self) -> None:
            path, status = self.path.partition("?")[0], 200
            if path in answers:
                why = answers[path]()
                body, status = f"{why or 'ok'}\n".encode(), 503 if why else 200
            elif path in ("/metrics", "/"):
                body = whole()
            else:
                self.send_error(404)
                return
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged for a scrape."""

    return Handler
