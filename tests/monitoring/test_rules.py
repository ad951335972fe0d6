"""The rules: each alert fires at what hurts, says so in words, leaves alone what does not, and has its runbook."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
import yaml

from pantograph import metrics

ROOT = pathlib.Path(__file__).parents[2]
RULES = ROOT / "charts" / "pantograph" / "files" / "rules.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
# All of it is text: `0x40` is a zero forty times, and not 64.
CASES = yaml.load(pathlib.Path(__file__).with_name("alerts.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def rules():
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def case(alert, name, at, series, expected):
    return {
        "name": f"{alert}: {name}",
        "interval": "30s",
        # A zero that is repeated would be read as a hexadecimal number.
        "input_series": [
            {"series": one, "values": re.sub(r"(?<![\d.+])0x", "0+0x", str(values))} for one, values in series.items()
        ],
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": expected}],
    }


def cases_of(alert):
    firing = {name: one for name, one in CASES[alert].items() if name.startswith("fires")}
    for name, one in firing.items():
        told = {
            "summary": one["summary"],
            "description": one["description"],
            "runbook_url": f"docs/runbooks/{alert}.md",
        }
        expected = [{"exp_labels": one["labels"], "exp_annotations": told}]
        yield case(alert, name, one["at"], one["series"], expected)
    for name, series in CASES[alert]["silent"].items():
        yield case(alert, name, CASES[alert]["fires"]["at"], series, [])


def test_the_rules_are_right_for_prometheus():
    status, said = promtool("check", "rules", "--lint-fatal", RULES)
    assert status == 0, said


def test_what_the_page_has_prometheus_scrape_is_right(tmp_path):
    page = (ROOT / "docs" / "howto" / "monitoring.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "rules.yaml").write_text(RULES.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "prometheus.yaml").write_text(block, encoding="utf-8")
    status, said = promtool("check", "config", tmp_path / "prometheus.yaml")
    assert status == 0, said


def test_every_alert_has_its_cases_and_no_other():
    assert set(CASES) == set(ALERTS)
    assert all(CASES[alert]["silent"] for alert in CASES)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_at_what_hurts_and_at_nothing_beside_it(alert, tmp_path):
    file = tmp_path / "test.yaml"
    file.write_text(
        yaml.safe_dump(
            {"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": list(cases_of(alert))}, width=1000
        )
    )
    status, said = promtool("test", "rules", file)
    assert status == 0, said


def test_a_rule_uses_metrics_that_are_declared_and_records_that_are_made():
    used = set(re.findall(r"\bpantograph_\w+", " ".join(rule["expr"] for rule in rules())))
    buckets = {f"{metric.name}_bucket" for metric in metrics.ALL if metric.kind == "histogram"}
    assert used <= {metric.name for metric in metrics.ALL} | buckets
    asked = set(re.findall(r"pantograph:\w+:\w+", " ".join(rule["expr"] for rule in rules())))
    assert asked <= {rule["record"] for rule in rules() if "record" in rule}


def test_an_alert_says_how_urgent_it_is_and_where_its_runbook_is():
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "warning", "ticket")
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert {"summary", "description"} <= set(rule["annotations"])


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_can_be_followed_at_night(alert):
    text = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["What it means", "What to look at", "What to do", "When it is over"]
    assert "```" in text
    assert f"({alert}.md)" in (RUNBOOKS / "README.md").read_text(encoding="utf-8")


def test_a_runbook_names_only_metrics_that_there_are():
    declared = {metric.name for metric in metrics.ALL}
    for path in RUNBOOKS.glob("*.md"):
        used = re.findall(r"\bpantograph_[a-z_]+(?<!_)", path.read_text(encoding="utf-8"))
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in used} - {"pantograph_keys"} <= declared, path.name
