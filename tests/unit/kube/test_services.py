"""A short host is a Service beside its Database, where there is one; who asks again and again asks the DNS once."""

import socket

import pytest

from pantograph.api import reading
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.secrets import Secret
from pantograph.kube import services


@pytest.fixture
def asked(monkeypatch):
    """The names that were asked for; the DNS knows the Service `db` of the namespace `shop`."""
    names: list[str] = []

    def getaddrinfo(name, _port):
        names.append(name)
        if name != "db.shop.svc":
            raise socket.gaierror
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    services._is_known.cache_clear()
    yield names
    services._is_known.cache_clear()


def manifests(host):
    spec = {"dialect": "postgresql", "host": host, "database": "shop", "credentials": {"secretName": "shop"}}
    one = reading.parse(Database, {
        "apiVersion": "pantograph.dev/v1alpha1", "kind": "Database", "metadata": {"name": "d", "namespace": "shop"},
        "spec": spec,
    })  # fmt: skip
    secret = Secret("shop", "shop", {"username": b"u", "password": b"p"})
    return Manifests({one.key: one}, {}, {}, {("shop", "shop"): secret})


def host_of(found):
    return found.databases["shop", "d"].spec.host


def test_a_short_name_is_the_service_beside_its_database(asked):
    assert host_of(services.located(manifests("db"))) == "db.shop.svc"
    assert host_of(services.located(manifests("elsewhere"))) == "elsewhere"
    for whole in ("db.example.com", "10.1.2.3", "localhost"):
        assert host_of(services.located(manifests(whole))) == whole
    assert asked == ["db.shop.svc", "elsewhere.shop.svc"]


def test_what_the_dns_said_is_remembered_for_a_while_and_no_longer(asked, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(services.time, "monotonic", lambda: now)
    for _ in range(5):
        services.located(manifests("db"))
        services.located(manifests("later"))
    assert asked == ["db.shop.svc", "later.shop.svc"]
    now += services.KEPT
    services.located(manifests("later"))
    assert asked[2:] == ["later.shop.svc"]
