"""Certificates of an authority that is made for a test: a server's, for 127.0.0.1, and a client's."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from tests.servers import processes


@dataclass(frozen=True)
class Certificates:
    """Paths in a folder that the server's account may read."""

    authority: pathlib.Path
    server: pathlib.Path
    server_key: pathlib.Path
    client: pathlib.Path
    client_key: pathlib.Path


def make(account: str | None) -> Certificates:
    """Of a new authority. account: whose keys they are."""
    folder = processes.folder("certificates", account)

    def openssl(*words: str) -> None:
        processes.run(["openssl", *words], account)

    def key(name: str) -> tuple[str, ...]:
        return (
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            str(folder / f"{name}.key"),
        )

    authority = folder / "ca.pem"
    openssl("req", "-x509", *key("ca"), "-subj", "/CN=authority", "-days", "2", "-out", str(authority))
    for name in ("server", "client"):
        openssl(
            "req", "-x509", *key(name), "-subj", f"/CN={name}", "-days", "2", "-out", str(folder / f"{name}.pem"),
            "-CA", str(authority), "-CAkey", str(folder / "ca.key"),
            "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
        )  # fmt: skip
    return Certificates(
        authority, *(folder / each for each in ("server.pem", "server.key", "client.pem", "client.key"))
    )
