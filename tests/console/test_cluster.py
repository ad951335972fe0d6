"""`pantograph console` over a real API server: the same pages, with the rights of the person and never more."""

import json
import re

import pytest

from tests.cluster import control as controls
from tests.console import proxies
from tests.console.conftest import make_shop, wait_for
from tests.servers import processes

pytestmark = pytest.mark.full
OURS = "pantograph.dev"
EVERYTHING = (
    {"apiGroups": [OURS], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
)
MIRRORED = (
    {"apiVersion": f"{OURS}/v1alpha1", "kind": "SourceTable", "metadata": {"name": "orders"},
     "spec": {"databaseRef": {"name": "shop"}, "schema": "public", "table": "orders"}},
    {"apiVersion": f"{OURS}/v1alpha1", "kind": "Reflection", "metadata": {"name": "orders"},
     "spec": {"sourceTableRef": {"name": "orders"},
              "destination": {"databaseRef": {"name": "copy"}, "schema": "public", "table": "orders"}}},
)  # fmt: skip
LOOKING = ({"apiGroups": [OURS], "resources": ["*"], "verbs": ["get", "list"]},)


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """An API server that knows Maria, who may do everything of ours, and Bert, who may look."""
    with controls.running(tmp_path_factory.mktemp("control"), "maria", "bert") as running:
        running.kubectl("apply", "--server-side", "--filename", "crds")
        running.kubectl("wait", "--for=condition=Established", "crd", "--all")
        running.grant("maria", *EVERYTHING)
        running.grant("bert", *LOOKING)
        yield running


@pytest.fixture
def shop(control, pg_db, monkeypatch, start):
    """Two databases, an operator, and a console that runs as the administrator."""
    monkeypatch.setenv("KUBECONFIG", str(control.kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    source, destination = pg_db(), pg_db()
    make_shop(source)
    control.apply([*source.manifests(name="shop"), *destination.manifests("destination", name="copy")])
    operator = start("operator", "--installation", "tests", "--port", processes.free_port())
    yield source, destination, operator
    control.kubectl("delete", "reflections,sourcetables", "--all", "--wait=true", "--timeout=40s")
    control.kubectl("delete", "databases", "--all", "--wait=true", "--timeout=40s")


def opened(start, *options, address="127.0.0.1:0"):
    console = start("console", "--address", address, "--installation", "tests", *options)
    console.said("the console was opened url=")
    return re.search(r"console was opened url=(\S+)", "".join(console.errors))[1]


def as_person(visitor, url, person):
    """A browser whose requests a proxy sends on with the person's token."""
    return visitor(url, extra_http_headers={"Authorization": f"Bearer token-of-{person}"})


def copied(destination):
    return destination.execute("select * from orders", role="superuser")


def test_the_life_of_a_reflection_by_clicks_with_the_rights_of_a_person(shop, control, start, visitor):
    source, destination, _ = shop
    url = opened(start)
    me = as_person(visitor, url, "maria")
    me.go()
    me.sees("Nothing is mirrored yet")
    me.click("Make the first one", "link")
    me.page.get_by_role("radio", name="shop").check()
    me.click("Look at its tables")
    me.click("public.orders", "link")
    me.page.get_by_label("Only rows where").fill("quantity <= 10")
    me.page.get_by_label("Destination Database").select_option("copy")
    me.click("See what it does")
    me.sees(re.compile("create.* trigger", re.IGNORECASE))
    me.click("Make it")
    me.sees("Reflection orders was made")
    reflector = start("reflector", "--database", "shop", "--installation", "tests", "--port", processes.free_port())
    me.sees("Replicating", timeout=60_000)
    wait_for(lambda: len(copied(destination)) == 10)
    me.examine()

    me.click("Pause")
    me.sees("is paused")
    me.sees("Paused")
    source.execute("update orders set quantity = 5 where id = 20")
    me.click("Resume")
    wait_for(lambda: len(copied(destination)) == 11)

    me.page.reload()
    me.click("Edit", "link")
    me.page.get_by_label("Only rows where").fill("quantity <= 2")
    me.click("See what it does")
    me.click("Apply the change")
    me.sees("was changed")
    wait_for(lambda: len(copied(destination)) == 2)

    me.click("Verify")
    me.sees("all are equal")

    def moves():
        source.execute("update orders set customer = 'c' || random() where id < 3")
        return re.search(r"Rows\s+[0-9.]*[1-9][0-9.]*/s", me.page.locator("#head").inner_text())

    wait_for(lambda: bool(moves()), 60.0, lambda: me.page.locator("#head").inner_text())
    assert me.page.locator("#charts svg").count() == 2
    me.click("Delete", "link")
    me.click("Delete it")
    me.sees("is being deleted")
    wait_for(lambda: not control.kubectl("get", "reflections,sourcetables", "--ignore-not-found"), 60.0)
    assert reflector.process.poll() is None


def test_who_may_look_sees_everything_and_can_do_nothing(shop, control, start, visitor):
    control.apply(MIRRORED)
    me = as_person(visitor, opened(start), "bert")
    me.go("reflections/default/orders")
    before = control.kubectl("get", "reflection", "orders", "--output", "jsonpath={.spec}")
    for button in ("Pause", "Resync"):
        me.click(button)
        me.sees("forbidden")
        me.page.go_back()
    me.click("Verify")
    me.sees(re.compile("secrets.*forbidden"))
    me.go("new?database=default/shop")
    me.sees(re.compile("secrets.*forbidden"))
    me.go("reflections/default/orders/delete")
    me.click("Delete it")
    me.sees("forbidden")
    assert control.kubectl("get", "reflection", "orders", "--output", "jsonpath={.spec}") == before
    me.complaints = [one for one in me.complaints if "502" not in one]


@pytest.mark.night
def test_a_token_that_nobody_has_is_told_so(shop, start, visitor):
    me = as_person(visitor, opened(start), "nobody")
    me.go()
    me.sees("does not know this token")
    me.complaints = [one for one in me.complaints if "401" not in one]


def as_named(visitor, url, **headers):
    """A browser whose requests a proxy sends on with what it knows of the person."""
    return visitor(url, extra_http_headers={f"X-Forwarded-{name.title()}": value for name, value in headers.items()})


RBAC = "rbac.authorization.k8s.io"
LOOKERS = {
    "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "lookers"},
    "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "bert"},
    "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "lookers"}],
}  # fmt: skip


def test_whom_a_trusted_proxy_names_has_their_rights_and_no_more(shop, control, start, visitor):
    control.apply([*MIRRORED, LOOKERS])
    url = opened(start, "--trusted-proxy", "127.0.0.1")

    def paused():
        return control.kubectl("get", "reflection", "orders", "--output", "jsonpath={.spec.paused}")

    # In a group that may look, and in one that no proxy makes anybody a member of.
    carl = as_named(visitor, url, user="carl", groups="system:masters,lookers")
    carl.go("reflections/default/orders")
    carl.page.get_by_text("as carl").wait_for()
    carl.click("Pause")
    carl.sees(re.compile('User "carl" cannot patch.*|forbidden'))
    assert paused() != "true"
    dora = as_named(visitor, url, user="dora")
    dora.go()
    dora.sees("forbidden")
    assert dora.page.get_by_role("link", name="shop", exact=True).count() == 0
    maria = as_named(visitor, url, user="maria")
    maria.go("reflections/default/orders")
    maria.click("Pause")
    maria.sees("is paused")
    assert paused() == "true"
    nobody = visitor(url)
    nobody.go()
    nobody.sees("does not say who you are")
    for one in (carl, nobody):
        one.complaints = [each for each in one.complaints if "502" not in each and "401" not in each]


@pytest.mark.night
def test_behind_nginx_everybody_has_their_own_rights_and_the_console_has_none(
    shop, control, start, visitor, tmp_path, monkeypatch
):
    """As the page has it: nginx knows who somebody is, and the console's own account may only act as these people."""
    control.apply([*MIRRORED, LOOKERS])
    control.authority.client("console", "console")
    acts_as = {"apiGroups": [""], "verbs": ["impersonate"]}
    control.grant(
        "console",
        {**acts_as, "resources": ["users"], "resourceNames": ["maria", "carl"]},
        {**acts_as, "resources": ["groups"], "resourceNames": ["shop", "lookers"]},
    )
    monkeypatch.setenv("KUBECONFIG", str(control.authority.kubeconfig("console", control.url)))
    console = opened(start, "--trusted-proxy", proxies.ADDRESS, address="0.0.0.0:0").replace("0.0.0.0", "127.0.0.1")

    def paused():
        return control.kubectl("get", "reflection", "orders", "--output", "jsonpath={.spec.paused}")

    passwords = {name: f"word of {name}" for name in ("maria", "carl", "dora")}
    with proxies.nginx(tmp_path / "nginx", console, passwords) as url:

        def person(name, **forged):
            """Somebody who logs in at nginx, and says of themselves what they like."""
            login = {"username": name, "password": passwords[name]}
            return visitor(url, ignore_https_errors=True, http_credentials=login, extra_http_headers=forged)

        maria = person("maria")
        maria.go("reflections/default/orders")
        maria.page.get_by_text("as maria").wait_for()
        maria.click("Pause")
        maria.sees("is paused")
        assert paused() == "true"
        maria.click("Edit", "link")
        maria.page.get_by_label("Only rows where").fill("quantity <= 10")
        maria.click("See what it does")
        maria.sees("Nothing was changed yet")
        maria.click("Apply the change")
        maria.sees("was changed")

        forged = {"X-Forwarded-User": "maria", "X-Forwarded-Groups": "system:masters"}
        carl = person("carl", **forged)
        carl.go("reflections/default/orders")
        carl.page.get_by_text("as carl").wait_for()
        carl.click("Resume")
        carl.sees(re.compile('User "carl" cannot patch.*|forbidden'))
        assert paused() == "true"
        # Whom the console may not act as gets nothing, and who does not log in does not come so far.
        dora = person("dora", **forged)
        dora.go("reflections/default/orders")
        dora.sees("cannot impersonate")
        nobody = visitor(url, ignore_https_errors=True, extra_http_headers=forged)
        assert nobody.context.request.get(url).status == 401
    # Past nginx, a header says nothing.
    past = as_named(visitor, console, user="maria")
    past.go()
    past.sees("forbidden")
    assert past.page.get_by_text("as maria").count() == 0
    for one in (maria, carl, dora, nobody):
        # What was refused, and that nginx has gone.
        one.complaints = [each for each in one.complaints if not re.search("502|404|401|ERR_CONNECTION", each)]


def test_a_database_is_made_and_changed_with_its_secret(shop, control, start, visitor):
    source, _, _ = shop
    database, secret = source.manifests(name="twin")
    me = as_person(visitor, opened(start), "maria")
    me.go("databases/new")
    for label, value in (
        ("Name", "twin"),
        ("Host", database["spec"]["host"]),
        ("Port", str(database["spec"]["port"])),
        ("Name of the database", database["spec"]["database"]),
        ("User", secret["stringData"]["username"]),
        ("Password", secret["stringData"]["password"]),
    ):
        me.page.get_by_label(label, exact=True).fill(value)
    me.click("Make it")
    me.sees("Database twin was made")
    assert secret["stringData"]["password"] not in me.page.content()
    assert control.kubectl("get", "secret", "twin", "--output", "jsonpath={.data.password}")
    me.click("Edit", "link")
    me.page.get_by_text("When it is read").click()
    me.page.get_by_label("Connections at most").fill("4")
    me.click("See what it does")
    me.sees("It was opened: PostgreSQL")
    me.click("Apply the change")
    me.sees("Database twin was changed")
    assert control.kubectl("get", "database", "twin", "--output", "jsonpath={.spec.reflector.connections}") == "4"
    bert = as_person(visitor, me.url, "bert")
    bert.go("databases/default/twin/edit")
    bert.click("See what it does")
    bert.sees(re.compile("secrets.*forbidden"))
    control.kubectl("delete", "secret", "twin")


def test_what_is_wrong_is_said_at_its_field_and_nothing_is_made(shop, control, start, visitor):
    me = as_person(visitor, opened(start), "maria")
    me.go("new?database=default/shop")
    me.click("public.log", "link")
    said = me.page.locator("li.card", has_text="log").locator(".error").inner_text()
    assert "it has no primary key" in said
    me.go("new?database=default/shop&schema=public&table=orders")
    me.page.get_by_label("Destination Database").select_option("copy")
    me.page.get_by_label("Only rows where").fill("quantity >")
    me.click("See what it does")
    assert "SyntaxError" in me.error_at("Only rows where")
    name = control.kubectl("get", "database", "shop", "--output", "jsonpath={.spec.credentials.secretName}")
    secret = json.loads(control.kubectl("get", "secret", name, "--output", "json"))
    wrong = json.dumps({"data": {"password": "d3Jvbmc="}})
    control.kubectl("patch", "secret", name, "--type=merge", "--patch", wrong)
    me.go("new?database=default/shop")
    assert "password" in me.page.locator("label.card", has_text="shop").locator(".error").inner_text().lower()
    control.kubectl("patch", "secret", name, "--type=merge", "--patch", json.dumps({"data": secret["data"]}))
    assert control.kubectl("get", "reflections,sourcetables", "--ignore-not-found") == ""
    me.complaints = [one for one in me.complaints if "404" not in one]


def test_through_a_port_forward_it_can_only_be_looked_at(shop, start, visitor, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")  # as in a pod
    me = visitor(opened(start))
    me.go("databases/default/shop")
    me.sees("postgresql")
    me.go("new?database=default/shop&schema=public&table=orders")
    me.sees("You are not logged in")
    me.click("See what it does")
    me.sees("What it does")
    assert me.page.get_by_role("button", name="Make it").count() == 0


def test_a_screen_that_is_left_open_shows_a_cluster_with_what_is_wrong_first(shop, control, start, screen):
    source, destination, _ = shop
    destination.execute("create table orders (id bigint primary key, quantity bigint check (quantity < 90))")
    shown = {"columns": [{"source": "id"}, {"source": "quantity"}], "onError": "DeadLetter"}
    table, orders = MIRRORED
    documents = [table, {**orders, "spec": {**orders["spec"], **shown}}]
    for one in MIRRORED:
        documents.append(json.loads(json.dumps(one).replace("orders", "customers")))
    destination.execute("create table customers (id bigint primary key, name text)")
    destination.execute("insert into customers values (77, 'before us')", role="superuser")
    control.apply(documents)
    start("reflector", "--database", "shop", "--installation", "tests", "--port", processes.free_port())
    watching = screen("status", "--watch", "--namespace", "default")
    watching.wait("cluster, namespace default")
    watching.wait("1 of 2 needs you")
    watching.wait(r"▲ customers: DestinationNotEmpty +\w+(.|\n)*▲ DestinationNotEmpty(.|\n)*● Replicating")

    def moves():
        source.execute("update orders set quantity = 10 - quantity where id < 5")
        return watching.shows(r"orders .*Replicating .*[1-9][0-9.]*/s")

    wait_for(moves, 60.0, watching.text)
    source.execute("update orders set quantity = 99 where id = 20")
    watching.wait("1 row set aside")
    control.kubectl("patch", "reflection", "orders", "--type=merge", "--patch", '{"spec":{"paused":true}}')
    watching.wait(r"■ Paused")
    control.kubectl("delete", "reflections,sourcetables", "--all")
    wait_for(lambda: not watching.shows("orders"), 60.0, watching.text)
    assert watching.end() == 130
