"""nginx before a console, as `docs/howto/console.md` has it: only addresses, files and people are the test's own."""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping

from tests.cluster.certificates import Authority
from tests.command.conftest import ROOT, wait_for
from tests.servers.processes import free_port

ADDRESS = "127.0.0.2"
"""From which nginx asks, so that it is not taken for anybody else of this machine."""


def documented() -> str:
    """The server of the page."""
    page = (ROOT / "docs" / "howto" / "console.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return block


def changed(text: str, **by: str) -> str:
    """The text with other values of these directives, each of which it has once."""
    for directive, value in by.items():
        text, count = re.subn(rf"^(\s*{directive}\s+)[^;]+;", rf"\g<1>{value};", text, flags=re.MULTILINE)
        assert count == 1, directive
    return text


@contextlib.contextmanager
def nginx(folder: pathlib.Path, console: str, passwords: Mapping[str, str]) -> Iterator[str]:
    """Its address, while it runs before the console at that address. It knows these people."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program, "Debian's nginx-light is not installed"
    folder.mkdir()
    Authority(folder / "pki").server("nginx", "localhost")
    (folder / "people").write_text("".join(f"{name}:{{PLAIN}}{word}\n" for name, word in passwords.items()))
    port = free_port()
    site = changed(
        documented(),
        listen=f"127.0.0.1:{port} ssl",
        ssl_certificate=f"{folder}/pki/nginx.crt",
        ssl_certificate_key=f"{folder}/pki/nginx.key",
        auth_basic_user_file=f"{folder}/people",
        proxy_pass=f"{console.rstrip('/')}; proxy_bind {ADDRESS}",
    )
    # As root for the files of a test, which are nobody else's.
    around = f"daemon off; user root; pid {folder}/pid; error_log {folder}/log; events {{}} http {{ access_log off;\n"
    (folder / "nginx.conf").write_text(f"{around}{site}}}\n")
    with subprocess.Popen([program, "-c", folder / "nginx.conf", "-p", folder], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _listens(port), what=(folder / "log").read_text)
            yield f"https://localhost:{port}/"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
