"""Connections that are encrypted, to MariaDB and to MySQL: whose certificates are taken, and what is said of others."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from pantograph import dialects, errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from tests.servers import MariaDB, MySQL, certificates, processes

KINDS = {"mariadb": MariaDB, "mysql": MySQL}


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.night)])
def secure(request):
    """A database, its certificates, and a superuser's cursor."""
    if request.param == "mysql":
        request.getfixturevalue("mysql_server")  # skips where there is none
    kind = KINDS[request.param]
    made = certificates.make(processes.user_for(kind.account))
    files = {"ssl-ca": made.authority, "ssl-cert": made.server, "ssl-key": made.server_key}
    with kind.start(options={name: str(path) for name, path in files.items()}) as server:
        database = server.make_database("shop")
        root = database.superuser().cursor()
        # Now that it runs: the tests themselves come in without.
        root.execute("set global require_secure_transport = on")
        yield database, made, root
        database.close()


def cipher(database, **changes):
    address = dataclasses.replace(Address(database.dialect, **database.url("source")), **changes)
    session = Session(dialects.load(address), Role.READER)
    with contextlib.closing(session), session.step("test"):
        return str(session.row("show session status like 'Ssl_cipher'")[1])


def test_a_certificate_is_taken_from_the_authority_that_is_given_and_for_the_host_that_it_names(secure):
    database, made, _ = secure
    assert cipher(database, tls_mode="require")
    for authority in (str(made.authority), made.authority.read_text()):
        assert cipher(database, tls_mode="verify-ca", tls_ca=authority)
        assert cipher(database, tls_mode="verify-full", tls_ca=authority)
    with pytest.raises(errors.Unreachable):
        cipher(database, tls_mode="verify-full", tls_ca=str(made.authority), host="localhost")
    other = certificates.make(None)
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(errors.Unreachable):
            cipher(database, tls_mode=mode, tls_ca=str(other.authority))
        with pytest.raises(errors.Unreachable):
            cipher(database, tls_mode=mode)


def test_a_server_that_lets_in_only_encrypted_connections_is_said_to(secure):
    database, _, _ = secure
    with pytest.raises(errors.Refused, match=r"a connection that is encrypted: spec\.tls"):
        cipher(database, tls_mode="disable")


def test_a_client_that_must_show_a_certificate_shows_its_own(secure):
    database, made, root = secure
    root.execute(f"alter user '{database.url('source')['username']}'@'%' require x509")
    with pytest.raises(errors.Refused):
        cipher(database, tls_mode="verify-ca", tls_ca=str(made.authority))
    for given in (str, lambda path: path.read_text()):
        shown = {"tls_cert": given(made.client), "tls_key": given(made.client_key)}
        assert cipher(database, tls_mode="verify-ca", tls_ca=str(made.authority), **shown)
