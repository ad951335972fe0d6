"""A way to a server that can fall silent: nothing comes through any more, and nobody is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Forwards connections to a server, until it hangs: then it takes new ones, and keeps what they and the others say.

    asked: how many connections were made while it hung.
    """

    def __init__(self, listens_at: str, host: str, port: int) -> None:
        self._to = (host, port)
        self._listening = socket.create_server((listens_at, 0))
        self.host, self.port = listens_at, int(self._listening.getsockname()[1])
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.asked = 0

    def hang(self) -> None:
        """Be silent from now on."""
        self._flows.clear()

    def resume(self) -> None:
        """Cut what was kept, as who comes back does, and forward again."""
        self._cut()
        self._flows.set()

    def _cut(self) -> None:
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                with self._lock:
                    self._open.append(client)
                if not self._flows.is_set():
                    self.asked += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._flows.wait()
        with contextlib.suppress(OSError), socket.create_connection(self._to) as server:
            with self._lock:
                self._open.append(server)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
        client.close()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._flows.wait()
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self.resume()
