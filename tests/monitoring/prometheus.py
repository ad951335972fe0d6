"""A Prometheus of a test's own: with a configuration, as a rule one that scrapes what the test names every second."""

from __future__ import annotations

import json
import pathlib
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Self

import yaml

from tests.servers import processes
from tests.support.comparison import wait_until

ROOT = pathlib.Path(__file__).parents[2]
RULES = ROOT / "charts" / "pantograph" / "files" / "rules.yaml"


def scraping(targets: Sequence[str], rules: pathlib.Path = RULES) -> dict[str, Any]:
    """The configuration for some addresses. rules: a file of rules."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "pantograph", "honor_labels": True, "static_configs": [{"targets": list(targets)}]}
        ],
    }


class Prometheus:
    """Runs while entered."""

    def __init__(self, folder: pathlib.Path, config: Mapping[str, Any]) -> None:
        self._folder, self.port = folder / "prometheus", processes.free_port()
        self._folder.mkdir()
        (self._folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder / 'config.yaml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_ready, f"Prometheus to be ready; {self._folder / 'log'}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-1000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression yields now."""
        asked = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{asked}", timeout=10) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def firing(self, alert: str) -> list[dict[str, str]]:
        """The labels of an alert's instances that fire."""
        return [one["metric"] for one in self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')]
