"""Helm, as people have it: a program of its own that renders the chart with values."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
CHART = ROOT / "charts" / "pantograph"
Helm = Callable[..., subprocess.CompletedProcess[str]]
Rendered = Callable[..., list[dict[str, Any]]]
KUBERNETES = ("--kube-version", "1.34.4")
"""Helm has no cluster to ask here."""


def script() -> ModuleType:
    """scripts/build-chart, as a module."""
    loader = SourceFileLoader("build_chart", str(ROOT / "scripts" / "build-chart"))
    spec = spec_from_loader("build_chart", loader)
    assert spec is not None
    found = module_from_spec(spec)
    loader.exec_module(found)
    return found


def built(name: str) -> str:
    """The program that is here, or one built from its Go module, which takes minutes the first time."""
    if found := shutil.which(name):
        return found
    from tests.cluster import programs

    return str(programs.build() / name)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Run Helm; what it said and how it ended."""
    program = built("helm")
    home = tmp_path_factory.mktemp("helm")
    places = {f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}

    def run(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *map(str, arguments)],
            env={**os.environ, **places},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope="session")
def rendered(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The chart's objects under values: a file in ci/, or the values themselves."""

    kept: dict[str, list[dict[str, Any]]] = {}

    def render(values: str | Mapping[str, Any] = "default") -> list[dict[str, Any]]:
        key = json.dumps(values)
        if key not in kept:
            kept[key] = rendering(values)
        return copy.deepcopy(kept[key])

    def rendering(values: str | Mapping[str, Any]) -> list[dict[str, Any]]:
        if isinstance(values, str):
            path = CHART / "ci" / f"{values}-values.yaml"
        else:
            path = tmp_path_factory.mktemp("values") / "values.yaml"
            path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        done = helm("template", "mirror", CHART, "--namespace", "ours", *KUBERNETES, "-f", path)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]

    return render
