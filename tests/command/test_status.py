"""`pantograph status` tells from the databases alone, whichever process moves the rows."""

import json
import time

import yaml

from tests.command.conftest import reflection, wait_for, write


def ready(text):
    return {
        (item["kind"], item["metadata"]["name"]): item["status"]["conditions"][0] for item in json.loads(text)["items"]
    }


def test_before_the_first_run_nothing_is_ready_and_it_says_why(call, shop):
    asked = call("status", "-f", shop.manifests, "-o", "json")
    assert asked.returncode == 3
    assert ready(asked.stdout)["Reflection", "orders"]["reason"] == "NotStarted"
    assert ready(asked.stdout)["SourceTable", "orders"]["reason"] == "NotInstalled"


def test_what_keeps_a_reflection_from_beginning_is_said_before_anything_runs(call, shop):
    shop.destination.execute("create table orders (id integer primary key)")
    shop.destination.execute("insert into orders values (1)")
    asked = call("status", "-f", shop.manifests, "-o", "json")
    found = ready(asked.stdout)["Reflection", "orders"]
    assert found["reason"] == "DestinationNotEmpty"
    assert "existing" in found["message"]
    assert ready(asked.stdout)["Reflection", "customers"]["reason"] == "NotStarted"


def test_while_another_process_runs_all_is_ready(call, start, shop):
    running = start("run", "-f", shop.manifests)
    wait_for(shop.equal)
    running.said("streaming began reflection=orders")
    running.said("streaming began reflection=customers")
    asked = call("status", "-f", shop.manifests, "-o", "json")
    assert {one["reason"] for one in ready(asked.stdout).values()} == {"Connected", "CaptureInstalled", "Replicating"}
    assert asked.returncode == 0
    item = next(item for item in json.loads(asked.stdout)["items"] if item["kind"] == "Reflection")
    assert item["status"]["lagSeconds"] == 0
    assert item["status"]["snapshot"]["percent"] == 100
    assert running.end() == 0


def test_what_waits_is_counted_after_the_process_has_ended(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    shop.source.execute("update orders set quantity = 0")
    asked = json.loads(call("status", "-f", shop.manifests, "-o", "json").stdout)
    by_name = {(item["kind"], item["metadata"]["name"]): item["status"] for item in asked["items"]}
    assert by_name["SourceTable", "orders"]["pendingEvents"] == 5
    assert by_name["SourceTable", "customers"]["pendingEvents"] == 0
    assert by_name["Reflection", "orders"]["lagSeconds"] > 0


def test_the_tables_have_a_line_for_every_object(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    for output in ("table", "wide"):
        text = call("status", "-f", shop.manifests, "-o", output).stdout
        heads = [line.split()[0] for line in text.splitlines() if line]
        assert heads == [
            "DATABASE",
            "copy",
            "shop",
            "SOURCETABLE",
            "customers",
            "orders",
            "REFLECTION",
            "customers",
            "orders",
        ]


def test_yaml_says_the_same_as_json(call, shop):
    told = [call("status", "-f", shop.manifests, "-o", output).stdout for output in ("json", "yaml")]
    kinds = [
        [item["kind"] for item in parse(text)["items"]]
        for parse, text in zip((json.loads, yaml.safe_load), told, strict=True)
    ]
    assert kinds[0] == kinds[1] == ["Database"] * 2 + ["SourceTable"] * 2 + ["Reflection"] * 2


def test_a_database_that_is_down_is_one_line_of_the_answer(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    shop.destination.path.write_bytes(b"this is no database at all, whatever its name is" * 50)
    asked = call("status", "-f", shop.manifests, "-o", "wide")
    assert asked.returncode == 3
    assert "Traceback" not in asked.stderr
    assert "no SQLite database" in asked.stdout


def test_an_unknown_format_is_refused(call, shop):
    asked = call("status", "-f", shop.manifests, "-o", "xml")
    assert asked.returncode == 2
    assert asked.stderr == "pantograph: --output: found xml, expected one of: table, wide, json, yaml\n"


def test_a_screen_that_is_left_open_follows_what_happens(start, screen, shop):
    running = start("run", "-f", shop.manifests)
    running.said("streaming began reflection=orders")
    watching = screen("status", "--watch", "-f", shop.manifests)
    watching.wait("all 2 in step")
    shop.source.execute("update orders set quantity = quantity + 1")
    watching.wait(r"orders .*Replicating .*[1-9][0-9.]*/s")
    assert running.end() == 0
    assert watching.end() == 130


def test_a_table_that_changed_and_stops_its_reflection_is_said_without_a_process(call, shop):
    documents = [*shop.documents[:-1], reflection("customers", schemaChange={"dropped": "Stop"})]
    path = write(shop.folder, documents)
    assert call("run", "-f", path, "--once").returncode == 0
    shop.source.execute("alter table customers drop column name")
    told = ready(call("status", "-f", path, "-o", "json").stdout)
    assert told["Reflection", "orders"]["reason"] == "Replicating"
    assert told["Reflection", "customers"]["reason"] == "SchemaChanged"
    assert "column name" in told["Reflection", "customers"]["message"]
    # Where nothing is in the way, it is only on its way.
    path = write(shop.folder, shop.documents)
    assert ready(call("status", "-f", path, "-o", "json").stdout)["Reflection", "customers"]["reason"] == "Sweep"
    assert call("run", "-f", path, "--once").returncode == 0
    assert ready(call("status", "-f", path, "-o", "json").stdout)["Reflection", "customers"]["reason"] == "Replicating"


def test_a_copy_that_waits_for_its_hours_says_until_when(call, shop):
    assert call("run", "-f", shop.manifests, "--once").returncode == 0
    hour = time.gmtime().tm_hour
    window = f"{(hour + 10) % 24:02}:00-{(hour + 12) % 24:02}:00"
    shop.documents[0]["spec"]["reflector"] = {"sweep": {"window": window}}
    path = write(shop.folder, [*shop.documents[:-1], reflection("customers", resyncToken="again")])
    ended = call("run", "-f", path, "--once")
    assert ended.returncode == 1
    assert "customers: OutsideSweepWindow: " in ended.stderr
    told = ready(call("status", "-f", path, "-o", "json").stdout)["Reflection", "customers"]
    assert told["reason"] == "OutsideSweepWindow"
    assert window in told["message"]
    assert told["message"] in ended.stderr
