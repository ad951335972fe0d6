"""Whose rights a request to `pantograph console` has: decided from its headers and the address it came from, and from
what the call says of proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pantograph import errors
from pantograph.console.serving import LOOPBACK
from pantograph.console.stores import Nobody

SYSTEM = "system:"
"""What names of the cluster's own accounts and groups begin with. No proxy makes somebody one of those."""
TWICE = "\n"
"""Between what was sent under one name; no header has it in it."""


@dataclass(frozen=True)
class Bearer:
    """Whoever holds this token of the API server."""

    token: str


@dataclass(frozen=True)
class Person:
    """Whom a trusted proxy has logged in; we act as them."""

    user: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Starter:
    """Whoever started the console; in a pod, its own account."""


Visitor = Bearer | Person | Starter
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Trust:
    """Which proxies say who somebody is, and in which headers (in lower case)."""

    networks: tuple[Network, ...] = ()
    user_header: str = "x-forwarded-user"
    groups_header: str = "x-forwarded-groups"

    def holds(self, client: str) -> bool:
        """Whether a request from this address came from a trusted proxy."""
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)


def trust(proxies: Sequence[str], user_header: str, groups_header: str, *, in_pod: bool) -> Trust:
    """What the call says. Raises `SpecError`, also for this machine in a pod: there a port-forward comes from it, and
    whoever may forward ports would be whoever they say they are."""
    networks = []
    for text in proxies:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise errors.SpecError(
                f"found {text}, expected an address or a network such as 10.1.2.3 or 10.1.0.0/16",
                path="--trusted-proxy",
            ) from None
        if in_pod and any(network.overlaps(own) for own in _OWN if own.version == network.version):
            raise errors.SpecError(
                f"found {text}, which is this pod itself: a port-forward comes from there as well, and could say that "
                "it is anybody. Let the proxy run in a pod of its own, or have it pass bearer tokens on",
                path="--trusted-proxy",
            )
        networks.append(network)
    return Trust(tuple(networks), user_header.lower(), groups_header.lower())


_OWN = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def who(headers: Mapping[str, str], client: str, trusted: Trust) -> Visitor:
    """Whose rights a request has. headers: names in lower case. Raises `Nobody`."""
    kind, _, token = _once(headers, "authorization").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return Bearer(token.strip())
    if trusted.holds(client):
        # Never as the console itself: that a proxy has forgotten to log somebody in gives nobody its rights.
        return _named(headers, trusted)
    # A name of another site that leads here is not one of these: DNS rebinding. Nor is it a port-forward when a proxy
    # on this machine says for whom it asks.
    host = _once(headers, "host").lower().rpartition(":")[0].strip("[]")
    if client not in LOOPBACK or host not in LOOPBACK or "x-forwarded-for" in headers or "forwarded" in headers:
        raise Nobody("Nobody is logged in. The proxy before this console must pass on a bearer token.")
    return Starter()


def _named(headers: Mapping[str, str], trusted: Trust) -> Person:
    user = _once(headers, trusted.user_header).strip()
    if not user:
        raise Nobody(f"The proxy before this console does not say who you are ({trusted.user_header}).")
    if user.startswith(SYSTEM):
        raise Nobody("The proxy before this console says that you are an account of the cluster itself.")
    groups = (group.strip() for group in _once(headers, trusted.groups_header).split(","))
    return Person(user, tuple(dict.fromkeys(group for group in groups if group and not group.startswith(SYSTEM))))


def _once(headers: Mapping[str, str], name: str) -> str:
    """A header. Raises `Nobody` where it came twice: a proxy that adds its own to what a browser sent would let that
    say who it is."""
    value = headers.get(name, "")
    if TWICE in value:
        raise Nobody(f"The header {name} came more than once, so that nobody can tell who you are.")
    return value
