"""Serves the pages: the routes on one screen, and a server in a thread of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pantograph import errors
from pantograph.console import pages
from pantograph.console.guard import Guard
from pantograph.console.history import History, Sampler
from pantograph.console.pages import Pages, Visit
from pantograph.console.stores import Figures, Stores

HERE = Path(__file__).parent
LARGEST = 1_000_000
"""Bytes of a form at most; a Reflection with 1,600 columns sends a third of it."""
PATIENCE = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def app(stores: Stores, history: History, hosts: Collection[str]) -> Starlette:
    """The pages over a store."""
    site = Pages(history)

    def route(path: str, page: Callable[[Visit], Response], *methods: str) -> Route:
        async def endpoint(request: Request) -> Response:
            posted = ""
            if request.method == "POST":
                body = bytearray()
                async for part in request.stream():
                    body += part
                    if len(body) > LARGEST:
                        return PlainTextResponse("This is too large.\n", status_code=413)
                posted = body.decode("utf-8", "replace")
            return await run_in_threadpool(site.answer, page, request, posted, stores)

        return Route(path, endpoint, methods=methods or ["GET"])

    return Starlette(
        routes=[
            route("/", pages.overview),
            route("/databases/new", pages.new_database, "GET", "POST"),
            route("/databases/{namespace}/{name}", pages.database),
            route("/databases/{namespace}/{name}/edit", pages.edit_database, "GET", "POST"),
            route("/databases/{namespace}/{name}/delete", pages.delete_database, "GET", "POST"),
            route("/tables/{namespace}/{name}", pages.source_table),
            route("/tables/{namespace}/{name}/delete", pages.delete_source_table, "GET", "POST"),
            route("/tables/{namespace}/{name}/edit", pages.edit_source_table, "GET", "POST"),
            route("/reflections/{namespace}/{name}", pages.reflection),
            route("/new", pages.new, "GET", "POST"),
            route("/reflections/{namespace}/{name}/edit", pages.edit, "GET", "POST"),
            route("/reflections/{namespace}/{name}/delete", pages.delete, "GET", "POST"),
            route("/reflections/{namespace}/{name}/{act}", pages.act, "POST"),
            Mount("/static", StaticFiles(directory=HERE / "static")),
            route("/{rest:path}", pages.nothing),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
    )


class Console:
    """The console, while entered. `url` is where.

    figures: of everything, to be sampled all the while; without them the charts know what somebody looked at. any_host:
    a proxy before us decides by which name we are called.
    """

    def __init__(
        self,
        stores: Stores,
        host: str,
        port: int,
        *,
        figures: Callable[[], Mapping[str, Figures]] | None = None,
        any_host: bool = False,
    ) -> None:
        self._stores, self._host, self._port, self._any_host = stores, host, port, any_host
        self._history = History(by_looking=figures is None)
        self._sampler = Sampler(self._history, figures) if figures else None
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def __enter__(self) -> Console:
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._socket = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            raise errors.PantographError(
                f"the console cannot listen on {self._host}:{self._port}: {error.strerror or error}; "
                "choose another address"
            ) from error
        port = self._socket.getsockname()[1]
        hosts = (
            set()
            if self._any_host
            else {f"{f'[{name}]' if ':' in name else name}:{port}" for name in (*LOOPBACK, self._host)}
        )
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{shown}:{port}/"
        config = uvicorn.Config(
            app(self._stores, self._history, hosts),
            log_config=None,
            access_log=False,
            server_header=False,
            # Who may say whose rights a request has is told by the address it came from, and by no header.
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="console", daemon=True
        )
        self._thread.start()
        if self._sampler is not None:
            self._sampler.start()
        deadline = time.monotonic() + PATIENCE
        while not self._server.started and time.monotonic() < deadline and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is not None:
            self._sampler.stop.set()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(PATIENCE)
        if self._socket is not None:
            self._socket.close()


def place(address: str, option: str = "--address") -> tuple[str, int]:
    """Host and port of `ADDRESS:PORT`, `PORT`, or `[ADDRESS]:PORT`. Raises `SpecError`."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise errors.SpecError(f"found {address}, expected ADDRESS:PORT such as 127.0.0.1:8080", path=option)
    return host.strip("[]") or LOOPBACK[0], int(port)


def place_here(address: str) -> tuple[str, int]:
    """The same, on this machine alone: whoever reaches the console of files may do all that it does."""
    host, port = place(address, "--console-address")
    if host not in LOOPBACK:
        raise errors.SpecError(
            f"found {host}, expected an address of this machine alone ({', '.join(LOOPBACK)}): whoever reaches the "
            "console may change what is mirrored, and it asks nobody who they are. From elsewhere, use `ssh -L`",
            path="--console-address",
        )
    return host, port
