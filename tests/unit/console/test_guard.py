"""Who may ask, and from where: DNS rebinding, forms of other sites, and what every answer says."""

import asyncio

import pytest

from pantograph import errors
from pantograph.console import serving
from pantograph.console.guard import HEADERS, Guard, Tokens

HOST = "127.0.0.1:8480"


def asked(method, **headers):
    """Status and headers of the answer of a page that would say yes."""
    told = []

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})

    async def send(message):
        told.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b""}
    asyncio.run(Guard(page, {HOST, "localhost:8480"})(scope, receive, send))
    return told[0]["status"], {name.decode(): value.decode() for name, value in told[0]["headers"]}


@pytest.mark.parametrize("host", [HOST, "localhost:8480", "LOCALHOST:8480"])
def test_a_host_of_ours_is_answered(host):
    assert asked("GET", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example:8480", "127.0.0.1", "127.0.0.1:80", ""])
def test_a_name_that_leads_here_and_is_not_ours_is_refused(host):
    assert asked("GET", host=host)[0] == 421


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"http://{HOST}".upper()])
def test_a_form_of_ours_is_taken(origin):
    assert asked("POST", host=HOST, origin=origin)[0] == 200


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "null"}, {"origin": "http://evil.example"}, {"origin": "http://localhost:8480"}]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_form_of_another_site_is_refused(method, headers):
    assert asked(method, host=HOST, **headers)[0] == 403


@pytest.mark.parametrize("host", [HOST, "evil.example"])
def test_every_answer_carries_the_policy(host):
    found = asked("GET", host=host)[1]
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= found.items()
    assert "unsafe" not in found["content-security-policy"]


def test_a_token_is_one_persons_and_all_replicas_know_it():
    ours, theirs = Tokens(), Tokens()
    assert ours.holds(ours.of("abc"), "abc")
    assert theirs.holds(ours.of("abc"), "abc")
    assert not ours.holds(ours.of("abc"), "abd")
    assert not ours.holds("ü", "abc")
    assert "abc" not in ours.of("abc")


def test_a_token_of_nobody_in_particular_is_one_processs():
    ours, theirs = Tokens(), Tokens()
    assert ours.holds(ours.of(""), "")
    assert not theirs.holds(ours.of(""), "")


def test_of_who_is_named_by_a_proxy_nobody_can_tell_the_token_by_their_name():
    ours, theirs = Tokens(), Tokens()
    assert ours.holds(ours.of("", "maria"), "", "maria")
    assert not ours.holds(ours.of("", "bert"), "", "maria")
    assert not ours.holds(ours.of(""), "", "maria")
    assert not theirs.holds(ours.of("", "maria"), "", "maria")


@pytest.mark.parametrize(
    ("address", "place"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("8480", ("127.0.0.1", 8480)), ("[::1]:0", ("::1", 0)),
     ("localhost:1", ("localhost", 1))],
)  # fmt: skip
def test_where_it_listens(address, place):
    assert serving.place_here(address) == place


@pytest.mark.parametrize("address", ["0.0.0.0:8480", "192.168.0.1:80", "127.0.0.1", "x:y", ":99999", "[::]:80"])
def test_it_listens_for_this_machine_alone(address):
    with pytest.raises(errors.SpecError):
        serving.place_here(address)
