"""Whose rights a request has, and what is made of what the API server says."""

import pytest

from pantograph import errors
from pantograph.api import reading
from pantograph.api.reflections import Reflection
from pantograph.cli.consoling import cluster as clusters
from pantograph.cli.consoling import visitors
from pantograph.cli.consoling.cluster import ClusterStores
from pantograph.console.stores import Change, Nobody
from tests.unit.api import everything

HOST = {"host": "localhost:8090"}


class Fake:
    """An API server that has a few objects, and remembers what it was told."""

    def __init__(self, who="", bodies=(), refuses=()):
        self.who, self.bodies, self.refuses, self.done = who, list(bodies), refuses, []

    def as_bearer(self, token):
        return Fake(token, self.bodies)

    def as_person(self, user, groups):
        return Fake((user, *groups), self.bodies)

    def list(self, kind, namespace="", **selectors):
        if kind.plural in self.refuses:
            raise errors.ClusterError(f"{kind.plural} is forbidden", status=403)
        return [body for body in self.bodies if body["kind"] == kind.kind], "1"

    def _do(self, what, kind, *more):
        if (what, kind.kind) in self.refuses:
            raise errors.ClusterError("forbidden", status=403)
        self.done.append((what, kind.kind, *more))

    def create(self, kind, namespace, body):
        self._do("create", kind)

    def delete(self, kind, namespace, name):
        self._do("delete", kind)

    def patch(self, kind, namespace, name, operations):
        self._do("patch", kind, *(operation["path"] for operation in operations))


def stores(*, in_pod=True, trust=None, **fake):
    return ClusterStores(Fake("own", **fake), [], "tests", in_pod=in_pod, trust=trust)


def who(store):
    return store._cluster.who


def test_a_token_is_that_persons_rights_wherever_it_comes_from():
    asked = stores()({"authorization": "Bearer abc", "host": "console.example"}, "10.0.0.7")
    assert (who(asked), asked.refuses) == ("abc", "")


def test_whom_a_trusted_proxy_names_has_their_rights_alone():
    ours = stores(trust=visitors.trust(["10.0.0.7"], "X-User", "X-Groups", in_pod=True))
    asked = ours({"x-user": "maria", "x-groups": "shop"}, "10.0.0.7")
    assert (who(asked), asked.refuses, asked.person) == (("maria", "shop"), "", "maria")
    assert asked._compared is not ours({"x-user": "bert"}, "10.0.0.7")._compared
    with pytest.raises(Nobody):
        ours({"x-user": "maria"}, "10.0.0.8")


def test_two_persons_do_not_see_what_the_other_had_compared():
    ours = stores()
    first, second = (ours({"authorization": f"Bearer {token}"}, "10.0.0.7") for token in "ab")
    assert first._compared is not second._compared
    assert first._compared is ours({"authorization": "bearer a"}, "10.0.0.8")._compared


@pytest.mark.parametrize(("in_pod", "reads_only"), [(True, True), (False, False)], ids=["port-forward", "kubeconfig"])
def test_without_a_token_it_is_who_started_it_and_in_a_pod_for_looking_alone(in_pod, reads_only):
    asked = stores(in_pod=in_pod)(HOST, "127.0.0.1")
    assert who(asked) == "own"
    assert bool(asked.refuses) is reads_only


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (HOST, "10.0.0.7"),
        ({"host": "evil.example:8090"}, "127.0.0.1"),
        ({}, "127.0.0.1"),
        ({**HOST, "authorization": "Basic abc"}, "10.0.0.7"),
        ({**HOST, "authorization": "Bearer "}, "10.0.0.7"),
    ],
    ids=["elsewhere", "rebinding", "nameless", "password", "empty"],
)
def test_nobody_else_is_served(headers, client):
    with pytest.raises(Nobody):
        stores(in_pod=False)(headers, client)


def body(ready, **status):
    made = everything.manifest(Reflection)
    made["spec"]["columns"], made["spec"]["exclude"] = [{"source": "id"}], []
    made["metadata"] |= {"namespace": "default", "generation": 3}
    condition = {"type": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z", **ready}
    return {**made, "status": {"conditions": [condition, *status.pop("more", [])], **status}}


def test_what_may_not_be_seen_is_said_and_the_rest_is_shown():
    ready = body({"status": "True", "reason": "Replicating"}, lagSeconds=1.5, deadLetters=2)
    asked = stores(bodies=[ready], refuses=("databases",))(HOST, "127.0.0.1")
    assert list(asked.wrong()) == ["databases is forbidden"]
    (figures,) = asked.figures().values()
    assert (figures.lag, figures.dead_letters, figures.written) == (1.5, 2, None)


@pytest.mark.parametrize(
    ("ready", "more", "state"),
    [
        ({"status": "True", "reason": "Replicating"}, [], "ok"),
        ({"status": "False", "reason": "Paused"}, [], "off"),
        ({"status": "False", "reason": "Snapshot"}, ["Reconciling"], "busy"),
        ({"status": "False", "reason": "Refused"}, ["Stalled"], "bad"),
        ({"status": "False", "reason": "Refused"}, [], "bad"),
    ],
)
def test_a_state_is_what_the_conditions_say(ready, more, state):
    others = [
        {"type": type_, "status": "True", "reason": "X", "lastTransitionTime": "2026-01-01T00:00:00Z"} for type_ in more
    ]
    asked = stores(bodies=[body(ready, more=others)])(HOST, "127.0.0.1")
    (standing,) = asked.standings().values()
    assert (standing.state, standing.word) == (state, ready["reason"])


def test_a_change_is_refused_by_the_server_when_the_spec_is_another_one_by_now():
    asked = stores(in_pod=False, bodies=[body({"status": "True", "reason": "X"})])(HOST, "127.0.0.1")
    (one,) = asked.objects().reflections.values()
    asked.act(one, "pause")
    assert asked._cluster.done == [("patch", "Reflection", "/metadata/generation", "/spec/paused")]


def test_nothing_is_done_where_it_can_only_be_looked_at():
    asked = stores(bodies=[body({"status": "True", "reason": "X"})])(HOST, "127.0.0.1")
    (one,) = asked.objects().reflections.values()
    for act in ("pause", "resume", "resync", "retry", "allow"):
        with pytest.raises(errors.PantographError, match="not logged in"):
            asked.act(one, act, 1)
    with pytest.raises(errors.PantographError, match="not logged in"):
        asked.delete(one, table=False)
    with pytest.raises(errors.PantographError, match="not logged in"):
        asked.apply(Change(one, {}))
    assert asked._cluster.done == []


def test_a_source_table_whose_reflection_is_refused_does_not_stay():
    asked = stores(in_pod=False, refuses=(("create", "Reflection"),))(HOST, "127.0.0.1")
    spec = {"sourceTableRef": {"name": "t"}, "destination": {"databaseRef": {"name": "d"}, "table": "t"}}
    one = reading.parse(Reflection, {"metadata": {"name": "r"}, "spec": spec})
    table = reading.parse(
        clusters.SourceTable, {"metadata": {"name": "t"}, "spec": {"databaseRef": {"name": "s"}, "table": "t"}}
    )
    asked._problems = lambda *_: []
    with pytest.raises(errors.ClusterError):
        asked.apply(Change(one, one.manifest(), table))
    assert asked._cluster.done == [("create", "SourceTable"), ("delete", "SourceTable")]
