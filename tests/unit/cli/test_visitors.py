"""Whose rights a request has: nobody becomes somebody by what a browser sends."""

import pytest

from pantograph import errors
from pantograph.cli.consoling.visitors import Bearer, Person, Starter, Trust, trust, who
from pantograph.console.stores import Nobody

HOST = {"host": "localhost:8090"}
MARIA = {"x-forwarded-user": "maria", "x-forwarded-groups": "shop,sales"}
PROXY = "10.1.2.3"


def trusting(*proxies, **options):
    headers = {"user_header": "X-Forwarded-User", "groups_header": "X-Forwarded-Groups"} | options
    return trust(proxies, in_pod=True, **headers)


@pytest.mark.parametrize("client", [PROXY, "::ffff:10.1.2.3"])
def test_a_trusted_proxy_says_who_somebody_is(client):
    assert who(MARIA, client, trusting(PROXY)) == Person("maria", ("shop", "sales"))
    assert who({"x-forwarded-user": "bert"}, client, trusting("10.1.0.0/16")) == Person("bert")


def test_the_headers_may_have_other_names():
    trusted = trusting(PROXY, user_header="X-Remote-User", groups_header="X-Remote-Group")
    assert who({"x-remote-user": "maria", "x-remote-group": "shop"}, PROXY, trusted) == Person("maria", ("shop",))
    with pytest.raises(Nobody, match="x-remote-user"):
        who(MARIA, PROXY, trusted)


def test_a_token_is_whose_it_is_also_from_a_trusted_proxy():
    assert who(MARIA | {"authorization": "Bearer abc"}, PROXY, trusting(PROXY)) == Bearer("abc")


@pytest.mark.parametrize("client", ["10.1.2.4", "127.0.0.1", "", "somewhere"])
def test_from_elsewhere_the_headers_say_nothing(client):
    with pytest.raises(Nobody):
        who(MARIA, client, trusting(PROXY))
    assert who(MARIA | HOST, "127.0.0.1", trusting(PROXY)) == Starter()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-forwarded-user": " "},
        {"x-forwarded-user": "maria\nadmin"},
        MARIA | {"x-forwarded-groups": "shop\nsystem:masters"},
        {"x-forwarded-user": "system:serviceaccount:kube-system:admin"},
        MARIA | {"authorization": "Bearer a\nBearer b"},
    ],
    ids=["forgotten", "empty", "twice", "groups twice", "of the cluster", "two tokens"],
)
def test_a_proxy_that_does_not_say_clearly_who_it_is_gets_nothing(headers):
    with pytest.raises(Nobody):
        who(headers | HOST, PROXY, trusting(PROXY))


def test_nobody_is_put_into_a_group_of_the_cluster_itself():
    headers = MARIA | {"x-forwarded-groups": "system:masters, shop,,system:nodes"}
    assert who(headers, PROXY, trusting(PROXY)) == Person("maria", ("shop",))


def test_a_trusted_proxy_on_this_machine_that_logs_nobody_in_is_not_who_started_the_console():
    trusted = trust(["127.0.0.1"], "X-Forwarded-User", "X-Forwarded-Groups", in_pod=False)
    with pytest.raises(Nobody):
        who(HOST, "127.0.0.1", trusted)
    assert who(HOST, "127.0.0.1", Trust()) == Starter()


@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
def test_what_a_proxy_on_this_machine_passes_on_is_no_port_forward(name):
    with pytest.raises(Nobody):
        who(HOST | {name: "10.9.9.9"}, "127.0.0.1", Trust())


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::1", "::/0"])
def test_in_a_pod_this_machine_is_no_trusted_proxy(proxy):
    with pytest.raises(errors.SpecError, match="port-forward"):
        trusting(proxy)


def test_what_is_no_network_is_refused():
    with pytest.raises(errors.SpecError, match="--trusted-proxy: found the-proxy, expected an address or a network"):
        trusting("the-proxy")
