"""The pages as a person sees them: a real browser, a real `run --console`, real databases.

Whatever a test does, the browser must have had nothing to complain of: no error in its console, nothing that the pages'
own policy forbids, no request to anybody else, and nothing serious for those who do not see or do not use a mouse.
"""

from __future__ import annotations

import importlib.resources
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import yaml
from playwright import sync_api

from tests.command.conftest import Process, closed_port, screen, start, wait_for
from tests.servers import TestDatabase

__all__ = ["closed_port", "screen", "start", "wait_for"]

WIDTHS = {"desk": (1280, 900), "tablet": (820, 1100), "phone": (375, 800)}
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sync_api.Browser]:
    """The browser of these tests; while Playwright is there, no other test could run a loop of its own."""
    path = shutil.which("chromium")
    assert path, "Debian's chromium is not installed"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Visitor:
    """Somebody at the pages, with a browser of their own."""

    def __init__(self, browser: sync_api.Browser, url: str, **options: Any) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._asked)

    def _heard(self, message: sync_api.ConsoleMessage) -> None:
        # A form that is sent back with its errors has status 400, which the browser notes by itself.
        if message.type in ("error", "warning") and "400 (Bad Request)" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: sync_api.Request) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.complaints.append(f"asked {request.url}")

    def go(self, path: str = "") -> None:
        self.page.goto(self.url + path.lstrip("/"))

    def click(self, name: str | re.Pattern[str], role: Any = "button") -> None:
        """What a person calls so."""
        self.page.get_by_role(role, name=name, exact=isinstance(name, str)).click()

    def sees(self, words: str | re.Pattern[str], timeout: float = 20_000) -> None:
        """Until it is on the page; without loading it again."""
        sync_api.expect(self.page.locator("main")).to_contain_text(words, timeout=timeout)

    def error_at(self, label: str) -> str:
        """The one line that stands at a field."""
        field = self.page.get_by_label(label, exact=True)
        assert field.get_attribute("aria-invalid") == "true", f"nothing is said to be wrong at {label}"
        ids = (field.get_attribute("aria-describedby") or "").split()
        (error,) = [one for one in ids if one.startswith("error:")]
        return self.page.locator(f'[id="{error}"]').inner_text()

    def examine(self) -> None:
        """Nothing serious for those who do not see, or do not use a mouse; nothing wider than the screen."""
        self.page.evaluate(AXE)
        found = self.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        )
        told = [f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes']][:3]}" for v in found["violations"]]
        assert not told, "\n".join(told)
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} is {wide} pixels wider than its screen"

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def visitor(chromium: sync_api.Browser) -> Iterator[Callable[..., Visitor]]:
    """`visitor(url, **options)` is somebody at the pages; what the browser complained of fails the test."""
    made: list[Visitor] = []

    def come(url: str, **options: Any) -> Visitor:
        made.append(Visitor(chromium, url, **options))
        return made[-1]

    yield come
    complaints = [complaint for one in made for complaint in one.complaints]
    for one in made:
        one.close()
    assert complaints == []


class Site:
    """A folder of manifests, and the console over it."""

    def __init__(self, folder: pathlib.Path, documents: Sequence[dict[str, Any]]) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        text = yaml.safe_dump_all(documents, sort_keys=False)
        (folder / "databases.yaml").write_text(text, encoding="utf-8")
        self.process: Process | None = None
        self.url = ""

    def open(self, start: Callable[..., Process]) -> None:
        self.process = start("run", "-f", self.folder, "--console", "--console-address", "127.0.0.1:0")
        self.process.said("the console was opened url=")
        found = re.search(r"console was opened url=(\S+)", "".join(self.process.errors))
        assert found
        self.url = found[1]

    def documents(self) -> list[dict[str, Any]]:
        """All that is written in the folder."""
        return [one for path in sorted(self.folder.rglob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]

    def reflection(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.documents() if one["kind"] == "Reflection" and one["metadata"]["name"] == name]
        return found


def make_shop(source: TestDatabase) -> None:
    """Tables of a shop; `log` has no key."""
    source.execute(
        "create table orders (id integer primary key, customer varchar(40), quantity integer, status varchar(9))"
    )
    source.execute("create table customers (id integer primary key, name varchar(40))")
    source.execute("create table log (line varchar(80))")
    for number in range(1, 21):
        source.execute(f"insert into orders values ({number}, 'c{number}', {number}, 'open')")
        source.execute(f"insert into customers values ({number}, 'name {number}')")


def unmirrored(
    folder: pathlib.Path, source: TestDatabase, destination: TestDatabase, start: Callable[..., Process]
) -> Site:
    """The console over a shop and a database, of which nothing is mirrored yet."""
    make_shop(source)
    site = Site(folder / "mirror", [*source.manifests(name="shop"), *destination.manifests("destination", name="copy")])
    site.open(start)
    return site


@pytest.fixture
def shop(
    tmp_path: pathlib.Path, sqlite_db: Callable[..., TestDatabase], start: Callable[..., Process]
) -> tuple[Site, TestDatabase, TestDatabase]:
    """The console over two SQLite files, of which nothing is mirrored yet."""
    source, destination = sqlite_db("source"), sqlite_db("destination")
    return unmirrored(tmp_path, source, destination, start), source, destination
