"""Database: one SQL database with its address, dialect and credentials; a source, a destination, or both."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pantograph.api.base import NOTHING, Model, Resource, Rule, immutable
from pantograph.api.conditions import Status
from pantograph.api.values import (
    DNS_LABEL,
    NO_ZERO_BYTE,
    DailyHours,
    Duration,
    Hours,
    IntOrText,
    Object,
    ObjectName,
    SchemaName,
    SecretKey,
    Size,
    Text,
    Whole,
)

Dialect = Literal["postgresql", "mysql", "mariadb", "mssql", "sqlite", "firebird"]
FILE_DIALECTS = ("sqlite", "firebird")
SECRET_OPTIONS = ("password", "passwd", "pwd", "PWD")
"""Options of drivers that would carry a password in plain sight; they are refused."""

Host = Annotated[str, Text("a host name or address (string)", most=253, pattern=NO_ZERO_BYTE, shown=False)]
DatabaseName = Annotated[str, Text("the name of a database (string)", most=255, pattern=NO_ZERO_BYTE, shown=False)]
FilePath = Annotated[str, Text("the path of a file (string)", most=4096, pattern=NO_ZERO_BYTE, shown=False)]
LabelValue = Annotated[str, Text("the value of a label (string)", most=63, least=0, shown=False)]
AnnotationValue = Annotated[str, Text("the value of an annotation (string)", most=8192, least=0, shown=False)]


class Credentials(Model):
    """Where user and password are, and the address where that is not in the spec."""

    secret_name: ObjectName
    """A Secret in the same namespace."""
    username_key: SecretKey = "username"
    """The key of the Secret that holds the user's name."""
    password_key: SecretKey = "password"
    """The key of the Secret that holds the password."""
    host_key: SecretKey = "host"
    """The key that holds the host; read where `host` is not given."""
    port_key: SecretKey = "port"
    """The key that holds the port; read where `port` is not given."""
    database_key: SecretKey = "database"
    """The key that holds the database's name; read where `database` is not given."""


class Tls(Model):
    """How the connection is encrypted, and how far the server is trusted."""

    RULES = (
        Rule(
            message="mode disable uses no certificate: leave caSecretName out, or choose another mode",
            field="caSecretName",
            cel="self.mode != 'disable' || !has(self.caSecretName)",
            holds=lambda tls: tls.mode != "disable" or tls.ca_secret_name is None,
        ),
        Rule(
            message="mode disable uses no certificate: leave clientSecretName out, or choose another mode",
            field="clientSecretName",
            cel="self.mode != 'disable' || !has(self.clientSecretName)",
            holds=lambda tls: tls.mode != "disable" or tls.client_secret_name is None,
        ),
    )

    mode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    """`disable`: none. `require`: encrypted, whoever answers. `verify-ca`: with a certificate of an authority that is
    trusted. `verify-full`: and the certificate is for this host."""
    ca_secret_name: ObjectName | None = None
    """A Secret with `ca.crt`, the authorities that are trusted; those of the system unless given."""
    client_secret_name: ObjectName | None = None
    """A Secret with `tls.crt` and `tls.key`, shown to the server."""


class Allow(Model):
    """Whose SQL this Database runs: whoever may create a Reflection of it can run what is allowed here."""

    statements: bool = False
    """Whether Reflections may bring `statement` and `deleteStatement`, which run here."""
    expressions: bool = True
    """Whether Reflections may bring `where` and column expressions, which are evaluated here, read-only."""


class Sweep(Model):
    """How tables are read as a whole: first copies, resyncs and repairs."""

    parallel: Annotated[int, Whole(1, 16)] = 2
    """Tables swept at once, the smallest first."""
    max_rows_per_second: Annotated[int, Whole(0, 1_000_000_000)] = 0
    """The pace of all sweeps together; 0 for as fast as it goes."""
    window: Annotated[Hours, DailyHours()] | None = None
    """Hours of every day, in UTC, in which sweeps may run that are not first copies: `22:00-06:00`. At any time unless
    given."""


class Quantities(Model):
    """What the container asks for, and what it may have."""

    requests: Annotated[dict[str, IntOrText], Field(max_length=32)] = NOTHING
    """As in a Pod's container: `{cpu: 100m, memory: 128Mi}`."""
    limits: Annotated[dict[str, IntOrText], Field(max_length=32)] = NOTHING
    """As in a Pod's container: `{memory: 512Mi}`."""


class Reflector(Model):
    """The process that reads this Database; only read where the Database is a source.

    `resources` and what follows it shape the reflector's pod in a cluster and mean nothing to a local process, which
    takes them without a word: the same file serves both.
    """

    poll_interval: Annotated[timedelta, Duration("10ms", "1h")] = timedelta(milliseconds=200)
    """At most this long without looking for changes, when nothing wakes the reflector. SQLite: a fifth of it, for a
    look costs little there."""
    wake_up: Literal["Poll", "Notify"] = "Poll"
    """`Notify`: PostgreSQL, or a Firebird server, says at a commit that there are changes, and the reflector looks at
    once, whatever pollInterval is; it takes one more connection. Every writer of a captured table pays for it."""
    batch_rows: Annotated[int, Whole(1, 10_000_000)] = 50_000
    """Keys in a batch at most."""
    batch_bytes: Annotated[int, Size("64Ki", "1Gi")] = 16 * 2**20
    """Bytes in a batch at most, about; a single row may be larger."""
    max_transaction_rows: Annotated[int, Whole(1, 1_000_000_000)] = 500_000
    """Rows written in one transaction of the destination at most; a larger window goes in several."""
    connections: Annotated[int, Whole(2, 1000)] = 6
    """Connections to this Database at most; two when idle."""
    sweep: Sweep = Sweep()
    """How tables are read as a whole."""
    paused: bool = False
    """Move nothing from this Database; changes go on being captured, and wait."""
    resources: Quantities = Quantities()
    """Requests and limits of the reflector's container."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=64)] = NOTHING
    """As in a Pod."""
    tolerations: Annotated[tuple[Object, ...], Field(max_length=64)] = ()
    """As in a Pod."""
    affinity: Object = NOTHING
    """As in a Pod."""
    topology_spread_constraints: Annotated[tuple[Object, ...], Field(max_length=16)] = ()
    """As in a Pod."""
    priority_class_name: Annotated[str, Text("the name of a PriorityClass", most=253, least=0)] = ""
    """As in a Pod."""
    volumes: Annotated[tuple[Object, ...], Field(max_length=64)] = ()
    """As in a Pod; the volume of a database that is a file, for one."""
    volume_mounts: Annotated[tuple[Object, ...], Field(max_length=64)] = ()
    """As in a Pod's container."""
    env: Annotated[tuple[Object, ...], Field(max_length=256)] = ()
    """As in a Pod's container."""
    pod_annotations: Annotated[dict[str, AnnotationValue], Field(max_length=64)] = NOTHING
    """Added to the pod."""
    pod_labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = NOTHING
    """Added to the pod."""


def _not_of_a_file(field: str) -> Rule:
    return Rule(
        message=f"a sqlite Database is a file: give path, and leave {field} out",
        field=field,
        cel=f"self.dialect != 'sqlite' || !has(self.{field})",
        holds=lambda spec: spec.dialect != "sqlite" or getattr(spec, field) is None,
    )


class DatabaseSpec(Model):
    """Where the database is, how to get in, and how it is read when it is a source."""

    RULES = (
        immutable("dialect"),
        immutable("captureSchema"),
        Rule(
            message="only sqlite and firebird Databases are files: give host, port and database in place of path",
            field="path",
            cel="!has(self.path) || self.dialect in ['sqlite', 'firebird']",
            holds=lambda spec: spec.path is None or spec.dialect in FILE_DIALECTS,
        ),
        Rule(
            message="missing; a sqlite Database is a file and needs its path",
            field="path",
            cel="self.dialect != 'sqlite' || has(self.path)",
            holds=lambda spec: spec.dialect != "sqlite" or spec.path is not None,
        ),
        *(_not_of_a_file(field) for field in ("host", "port", "database", "credentials", "tls")),
        Rule(
            message="a firebird Database is either a file (path) or on a server (host, port and database), not both",
            field="path",
            cel=(
                "self.dialect != 'firebird' || !has(self.path)"
                " || !(has(self.host) || has(self.port) || has(self.database))"
            ),
            holds=lambda spec: (
                spec.dialect != "firebird"
                or spec.path is None
                or (spec.host is None and spec.port is None and spec.database is None)
            ),
        ),
        Rule(
            message="missing; a Database on a server needs credentials: {secretName: …}",
            field="credentials",
            cel="has(self.path) || has(self.credentials) || self.dialect == 'sqlite'",
            holds=lambda spec: spec.path is not None or spec.credentials is not None or spec.dialect == "sqlite",
        ),
        Rule(
            message="found Notify, but only PostgreSQL and a Firebird server tell who listens: say Poll",
            field="reflector.wakeUp",
            cel=(
                "self.reflector.wakeUp != 'Notify' || self.dialect == 'postgresql'"
                " || (self.dialect == 'firebird' && !has(self.path))"
            ),
            holds=lambda spec: (
                spec.reflector.wake_up != "Notify"
                or spec.dialect == "postgresql"
                or (spec.dialect == "firebird" and spec.path is None)
            ),
        ),
        Rule(
            message="a password does not belong into options: put it into the Secret that credentials.secretName names",
            field="options",
            cel=f"!self.options.exists(option, option in {list(SECRET_OPTIONS)})",
            holds=lambda spec: not set(SECRET_OPTIONS) & set(spec.options),
        ),
    )

    dialect: Dialect
    """Which engine it is. Immutable."""
    host: Host | None = None
    """Name or address of the server, or the folder of its socket; unless given, the Secret's."""
    port: Annotated[int, Whole(1, 65535)] | None = None
    """Unless given, what the Secret of `credentials` says, or the dialect's own."""
    database: DatabaseName | None = None
    """Name of the database on the server; unless given, what the Secret of `credentials` says."""
    path: FilePath | None = None
    """The file, for sqlite and for firebird without a server."""
    credentials: Credentials | None = None
    """Who we are there; every Database on a server needs it."""
    tls: Tls | None = None
    """Encryption; left to the driver unless given."""
    options: Annotated[dict[str, IntOrText], Field(max_length=64)] = NOTHING
    """Passed to the driver; unknown ones are refused by name."""
    allow: Allow = Allow()
    """Whose SQL runs here."""
    capture_schema: SchemaName = "pantograph"
    """The schema in which our tables live (PostgreSQL, SQL Server); elsewhere the prefix of their names. Immutable."""
    reflector: Reflector = Reflector()
    """How it is read when it is a source."""


class DatabaseStatus(Status):
    """What was seen of the database."""

    server: Annotated[str, Text("a version", most=256, least=0)] = ""
    """What the server says it is, with its version."""
    source_tables: Annotated[int, Whole(0, 2**53)] | None = None
    """SourceTables of this Database."""
    reflections: Annotated[int, Whole(0, 2**53)] | None = None
    """Reflections that read from it."""


class Database(Resource):
    """One SQL database with its address, dialect and credentials; a source of live copies, a destination, or both."""

    KIND: ClassVar[str] = "Database"
    PLURAL: ClassVar[str] = "databases"

    RULES = (
        Rule(
            message="a Database's name is a label of its reflector: lower-case letters, digits and '-', 63 at most",
            field="metadata.name",
            cel=f"self.metadata.name.matches('{DNS_LABEL}') && size(self.metadata.name) <= 63",
            holds=lambda database: "." not in database.name and len(database.name) <= 63,
        ),
    )

    spec: DatabaseSpec
    """Where it is and how to get in."""
    status: DatabaseStatus = DatabaseStatus()
    """What was seen of it."""

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Every Secret that the Database names, once each."""
        credentials, tls = self.spec.credentials, self.spec.tls
        names = [credentials.secret_name if credentials else None]
        names += [tls.ca_secret_name, tls.client_secret_name] if tls else []
        return tuple(dict.fromkeys(name for name in names if name))
