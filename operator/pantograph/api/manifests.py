"""Manifests: what a set of files says, as typed objects that find each other.

The files are the very ones that a cluster gets: the three kinds, `Secret`s, and `List`s of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import yaml

from pantograph import errors
from pantograph.api import base, documents, expressions, naming, reading, secrets
from pantograph.api.base import API_VERSION, GROUP, Resource
from pantograph.api.databases import Database
from pantograph.api.reading import Findings, Origin
from pantograph.api.reflections import Reflection
from pantograph.api.secrets import Credentials, Secret, TlsFiles
from pantograph.api.sourcetables import SourceTable

Key = tuple[str, str]
"""Namespace and name."""
KINDS: Mapping[str, type[Resource]] = {kind.KIND: kind for kind in (Database, SourceTable, Reflection)}
SUFFIXES = (".yaml", ".yml", ".json")
R = TypeVar("R", bound=Resource)
T = TypeVar("T")


@dataclass(frozen=True)
class Manifests:
    """The objects of a set of files, by namespace and name, with where each was read."""

    databases: Mapping[Key, Database] = field(default_factory=dict)
    source_tables: Mapping[Key, SourceTable] = field(default_factory=dict)
    reflections: Mapping[Key, Reflection] = field(default_factory=dict)
    secrets: Mapping[Key, Secret] = field(default_factory=dict)
    origins: Mapping[tuple[str, Key], Origin] = field(default_factory=dict, repr=False)
    unreadable: frozenset[tuple[str, Key]] = frozenset()
    """Objects that are in the files but could not be read; a reference to one is no error of its own."""
    whole: bool = True
    """Whether every document could be read; else any reference may be to an object in one that could not."""

    def origin(self, resource: Resource) -> Origin:
        """Where the object was read; its kind and name alone where it was not read from a file."""
        return self.origins.get((resource.KIND, resource.key)) or Origin(subject=resource.subject)

    def database_of(self, source_table: SourceTable) -> Database:
        """The Database that holds the table; SpecError when it is not there."""
        return self._found(self.databases, source_table, source_table.database_key, Database, "spec.databaseRef.name")

    def source_of(self, reflection: Reflection) -> SourceTable:
        """The SourceTable that is copied; SpecError when it is not there."""
        key = reflection.source_key
        return self._found(self.source_tables, reflection, key, SourceTable, "spec.sourceTableRef.name")

    def source_database_of(self, reflection: Reflection) -> Database:
        """The Database that the Reflection reads from; SpecError when something on the way is not there."""
        return self.database_of(self.source_of(reflection))

    def destination_of(self, reflection: Reflection) -> Database:
        """The Database that holds the copy; SpecError when it is not there."""
        key, path = reflection.destination_key, "spec.destination.databaseRef.name"
        return self._found(self.databases, reflection, key, Database, path)

    def source_tables_of(self, database: Database) -> tuple[SourceTable, ...]:
        """The SourceTables of a Database, in the order of their names."""
        return tuple(table for _, table in sorted(self.source_tables.items()) if table.database_key == database.key)

    def reflections_of(self, source_table: SourceTable) -> tuple[Reflection, ...]:
        """The Reflections of a SourceTable, in the order of their names."""
        return tuple(one for _, one in sorted(self.reflections.items()) if one.source_key == source_table.key)

    def credentials_of(self, database: Database) -> Credentials:
        """User, password and address; SpecErrors when the Secret is not there or lacks a key."""
        findings = Findings()
        found = self._credentials(database, findings)
        return _or_raise(found, findings)

    def tls_of(self, database: Database) -> TlsFiles:
        """Certificates and key; SpecErrors when a Secret is not there or lacks a key."""
        findings = Findings()
        found = self._tls(database, findings)
        return _or_raise(found, findings)

    def problems(self) -> list[errors.SpecError]:
        """What is wrong between objects: references to what is not there, two that claim the same table."""
        findings = Findings()
        for table in self.source_tables.values():
            self._look_up(self.database_of, table, ("Database", table.database_key), findings)
        for one in self.reflections.values():
            self._look_up(self.source_of, one, ("SourceTable", one.source_key), findings)
            self._look_up(self.destination_of, one, ("Database", one.destination_key), findings)
        for database in self.databases.values():
            self._credentials(database, findings)
            self._tls(database, findings)
        self._same_tables(findings)
        self._allowances(findings)
        self._expressions(findings)
        self._types(findings)
        self._statements(findings)
        self._names(findings)
        return findings.errors

    def changed_since(self, before: Manifests) -> list[errors.SpecError]:
        """Fields that cannot be changed, and were, since the files said what `before` says."""
        findings = Findings()
        for kind in ("databases", "source_tables", "reflections"):
            earlier: Mapping[Key, Resource] = getattr(before, kind)
            for key, resource in getattr(self, kind).items():
                for path, rule in base.changed(earlier[key], resource) if key in earlier else ():
                    findings.add(self.origin(resource), rule.message, path)
        return findings.errors

    def _found(self, among: Mapping[Key, R], by: Resource, key: Key, kind: type[R], path: str) -> R:
        if key in among:
            return among[key]
        names = [name for namespace, name in among if namespace == key[0]]
        elsewhere = [namespace for namespace, name in among if name == key[1]]
        hint = reading.nearest(key[1], names)
        if elsewhere:
            hint = f" (there is one in namespace {elsewhere[0]}; references stay within a namespace)"
        raise self.origin(by).error(f"there is no {kind.KIND} {key[1]} in namespace {key[0]}{hint}", path)

    def _look_up(self, look_up: Callable[[R], object], by: R, wanted: tuple[str, Key], findings: Findings) -> None:
        if wanted in self.unreadable or not self.whole:
            return
        try:
            look_up(by)
        except errors.SpecError as error:
            findings.errors.append(error)

    def _secret(self, database: Database, name: str, path: str, findings: Findings) -> Secret | None:
        secret = self.secrets.get((database.namespace, name))
        if secret is None and self.whole and ("Secret", (database.namespace, name)) not in self.unreadable:
            names = [known for namespace, known in self.secrets if namespace == database.namespace]
            message = f"there is no Secret {name} in namespace {database.namespace}{reading.nearest(name, names)}"
            findings.add(self.origin(database), message, path)
        return secret

    def _credentials(self, database: Database, findings: Findings) -> Credentials:
        wanted, secret = database.spec.credentials, None
        if wanted is not None:
            secret = self._secret(database, wanted.secret_name, "spec.credentials.secretName", findings)
        return secrets.credentials(database, secret, findings, self.origin(database))

    def _tls(self, database: Database, findings: Findings) -> TlsFiles:
        tls, named = database.spec.tls, {}
        for name, path in (
            ((tls.ca_secret_name, "caSecretName"), (tls.client_secret_name, "clientSecretName")) if tls else ()
        ):
            secret = self._secret(database, name, f"spec.tls.{path}", findings) if name else None
            if secret is not None:
                named[secret.name] = secret
        return secrets.tls_files(database, named, findings, self.origin(database))

    def _allowances(self, findings: Findings) -> None:
        """SQL in a Reflection runs with the rights of a Database's user, so the Database says whether it may."""
        for reflection in self.reflections.values():
            source = self.source_tables.get(reflection.source_key)
            sides = (
                (self.databases.get(source.database_key) if source else None, "expressions", reflection.expressions),
                (self.databases.get(reflection.destination_key), "statements", reflection.statements),
            )
            for database, what, paths in sides:
                if database is not None and not getattr(database.spec.allow, what):
                    for path in paths:
                        message = f"Database {database.name} runs no {what} of others: its spec.allow.{what} is false"
                        findings.add(self.origin(reflection), message, path)

    def _expressions(self, findings: Findings) -> None:
        """What the source is to evaluate is one expression each, as far as that can be told without asking it."""
        for reflection in self.reflections.values():
            source = self.source_tables.get(reflection.source_key)
            database = self.databases.get(source.database_key) if source else None
            if database is None:
                continue
            for path, text in reflection.expressions.items():
                try:
                    expressions.judge(text, database.spec.dialect, path)
                except errors.SpecError as error:
                    findings.add(self.origin(reflection), error.args[0], path)

    def _types(self, findings: Findings) -> None:
        """Types of columns become part of a statement at the destination."""
        for reflection in self.reflections.values():
            database = self.databases.get(reflection.destination_key)
            for number, column in enumerate(reflection.spec.columns) if database else ():
                path = f"spec.columns[{number}].type"
                try:
                    if database and column.type:
                        expressions.judge_type(column.type, database.spec.dialect, path)
                except errors.SpecError as error:
                    findings.add(self.origin(reflection), error.args[0], path)

    def _statements(self, findings: Findings) -> None:
        """What the destination is to run for each row is one statement each."""
        for reflection in self.reflections.values():
            database = self.databases.get(reflection.destination_key)
            if database is None:
                continue
            for path, text in reflection.statements.items():
                try:
                    expressions.judge_statement(text, database.spec.dialect, path)
                except errors.SpecError as error:
                    findings.add(self.origin(reflection), error.args[0], path)

    def _names(self, findings: Findings) -> None:
        """Names that an engine does not take."""
        for database in self.databases.values():
            for path, message in naming.of_database(database):
                findings.add(self.origin(database), message, path)
        for table in self.source_tables.values():
            here = self.databases.get(table.database_key)
            for path, message in naming.of_source_table(table, here.spec.dialect) if here else ():
                findings.add(self.origin(table), message, path)
        for reflection in self.reflections.values():
            source = self.source_tables.get(reflection.source_key)
            here = self.databases.get(source.database_key) if source else None
            there = self.databases.get(reflection.destination_key)
            for path, message in naming.of_source(reflection, here.spec.dialect) if here else ():
                findings.add(self.origin(reflection), message, path)
            for path, message in naming.of_destination(reflection, there.spec.dialect) if there else ():
                findings.add(self.origin(reflection), message, path)

    def _same_tables(self, findings: Findings) -> None:
        """Only what is the same by its names: whether two Databases are one server is for the servers to say."""
        seen: dict[tuple[Any, ...], SourceTable] = {}
        for table in self.source_tables.values():
            place = (*table.database_key, table.spec.schema_, table.spec.table)
            first = seen.setdefault(place, table)
            if first is not table:
                message = (
                    f"{table.qualified_table} of Database {table.spec.database_ref.name} is SourceTable {first.name}"
                )
                findings.add(self.origin(table), f"{message} already", "spec.table")
        for reflection in self.reflections.values():
            source = self.source_tables.get(reflection.source_key)
            place = (
                *reflection.destination_key,
                reflection.spec.destination.schema_,
                reflection.spec.destination.table,
            )
            if source and place == (*source.database_key, source.spec.schema_, source.spec.table):
                findings.add(self.origin(reflection), "the table is its own source", "spec.destination.table")


def load(paths: Sequence[str | Path], stdin: TextIO | None = None, *, namespace: str = "default") -> Manifests:
    """What the files say; SpecErrors with one line for everything that is wrong with them.

    paths: files, folders (read recursively: *.yaml, *.yml, *.json, sorted; hidden ones are left out), or `-` for stdin.
    namespace: of objects that name none.
    """
    manifests, wrong = read(paths, stdin, namespace=namespace)
    if wrong:
        raise errors.SpecErrors(wrong)
    return manifests


def read(
    paths: Sequence[str | Path], stdin: TextIO | None = None, *, namespace: str = "default"
) -> tuple[Manifests, list[errors.SpecError]]:
    """As `load`, but hands the errors back beside what could be read."""
    findings = Findings()
    return _collected(_texts(paths, stdin, findings), namespace, findings)


def from_text(text: str, file: str | None = None, *, namespace: str = "default") -> Manifests:
    """What one text of YAML says; SpecErrors with one line for everything that is wrong."""
    manifests, wrong = _collected([(file, text)], namespace, Findings())
    if wrong:
        raise errors.SpecErrors(wrong)
    return manifests


def to_yaml(resources: Iterable[Resource]) -> str:
    """The objects as manifests, without what is at its default: what a person would have written."""
    return written(resource.manifest() for resource in resources)


def written(bodies: Iterable[Mapping[str, Any]]) -> str:
    """Manifests as YAML, one document each."""
    return yaml.safe_dump_all(map(dict, bodies), sort_keys=False, allow_unicode=True, width=120)


def _collected(
    texts: Iterable[tuple[str | None, str]], namespace: str, findings: Findings
) -> tuple[Manifests, list[errors.SpecError]]:
    manifests = _Collector(findings, namespace)
    for file, text in texts:
        parser = documents.from_json if file and file.endswith(".json") else documents.from_yaml
        for document in parser(text):
            if document.problem:
                findings.add(Origin(file, document.number), document.problem)
                manifests.whole = False
            else:
                manifests.add(document.body, Origin(file, document.number))
    collected = manifests.collected()
    findings.errors += collected.problems()
    return collected, findings.errors


class _Collector:
    """Takes documents one by one."""

    def __init__(self, findings: Findings, namespace: str) -> None:
        self.findings = findings
        self.namespace = namespace
        self.resources: dict[str, dict[Key, Any]] = {kind: {} for kind in (*KINDS, "Secret")}
        self.origins: dict[tuple[str, Key], Origin] = {}
        self.unreadable: set[tuple[str, Key]] = set()
        self.whole = True

    def add(self, body: Any, origin: Origin) -> None:
        if not isinstance(body, dict):
            self.findings.add(origin, f"found {'a list' if isinstance(body, list) else 'a text'}, expected a manifest")
            return
        origin = reading.origin_of(body, origin.file, origin.document, origin.within)
        version, kind = body.get("apiVersion"), body.get("kind")
        if isinstance(kind, str) and kind.removesuffix("List") in ("", *KINDS, "Secret") and kind.endswith("List"):
            self.add_list(body, origin)
        elif self.known(version, kind, origin):
            self.add_object(str(kind), body, origin)

    def add_list(self, body: Mapping[str, Any], origin: Origin) -> None:
        items = body.get("items", [])
        if not isinstance(items, list):
            self.findings.add(origin, "found something else, expected a list", "items")
            return
        for number, item in enumerate(items):
            within = ".".join(part for part in (origin.within, f"items[{number}]") if part)
            self.add(item, Origin(origin.file, origin.document, None, within))

    def known(self, version: Any, kind: Any, origin: Origin) -> bool:
        """Whether it is a kind of ours or a Secret; else say so once."""
        wanted = {**dict.fromkeys(KINDS, API_VERSION), "Secret": "v1"}
        kinds = "Database, SourceTable, Reflection or Secret"
        if not isinstance(kind, str):
            self.findings.add(
                origin, f"{'missing' if kind is None else 'found something else'}, expected {kinds}", "kind"
            )
        elif kind not in wanted:
            self.findings.add(origin, f"found {kind[:80]}, expected {kinds}{reading.nearest(kind, wanted)}", "kind")
        elif version != wanted[kind]:
            shown = version[:80] if isinstance(version, str) else "something else"
            found = "missing" if version is None else f"found {shown}"
            hint = ""
            if isinstance(version, str) and version.startswith(f"{GROUP}/"):
                hint = " (this Pantograph knows no other version)"
            self.findings.add(origin, f"{found}, expected {wanted[kind]}{hint}", "apiVersion")
        else:
            return True
        return False

    def add_object(self, kind: str, body: Mapping[str, Any], origin: Origin) -> None:
        body = self.with_namespace(body)
        resource: Resource | Secret | None
        if kind == "Secret":
            resource = secrets.read_secret(body, self.findings, origin)
        else:
            resource = reading.read(KINDS[kind], body, self.findings, origin)
        if resource is None:
            metadata = body["metadata"] if isinstance(body.get("metadata"), dict) else {}
            self.unreadable.add((kind, (str(metadata.get("namespace")), str(metadata.get("name")))))
            return
        first = self.origins.setdefault((kind, resource.key), origin)
        if first is not origin:
            where = str(errors.SpecError("", file=first.file, document=first.document)).rstrip(": ")
            at = f" ({where})" if where else ""
            self.findings.add(origin, f"there is another {kind} of this name in namespace {resource.key[0]}{at}")
            return
        self.resources[kind][resource.key] = resource

    def with_namespace(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        metadata = body.get("metadata")
        if isinstance(metadata, dict) and not metadata.get("namespace"):
            return {**body, "metadata": {**metadata, "namespace": self.namespace}}
        return body

    def collected(self) -> Manifests:
        return Manifests(
            self.resources["Database"],
            self.resources["SourceTable"],
            self.resources["Reflection"],
            self.resources["Secret"],
            self.origins,
            frozenset(self.unreadable),
            self.whole,
        )


def _texts(paths: Sequence[str | Path], stdin: TextIO | None, findings: Findings) -> Iterator[tuple[str | None, str]]:
    read: set[str] = set()
    for path in paths:
        if str(path) == "-":
            if stdin is None:
                findings.add(Origin("-"), "there is no standard input to read")
            else:
                try:
                    yield "standard input", stdin.read()
                except UnicodeDecodeError:
                    findings.add(Origin("standard input"), documents.NO_TEXT)
            continue
        files = list(files_of(Path(path)))
        if not files:
            findings.add(Origin(str(path)), f"no file in this folder ends in {', '.join(SUFFIXES)}")
        for file in files:
            # A file beside its folder, or a link to it, would be an object twice.
            if (real := os.path.realpath(file)) in read:
                continue
            read.add(real)
            try:
                yield str(file), file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                findings.add(Origin(str(file)), documents.NO_TEXT)
            except OSError as error:
                findings.add(Origin(str(file)), f"cannot be read: {os.strerror(error.errno or 0)}")


def files_of(path: Path) -> Iterator[Path]:
    """The files of manifests that a path stands for: itself, or all in and below a folder."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES) and not name.startswith(".")
        )


def _or_raise(found: T, findings: Findings) -> T:
    if findings.errors:
        raise errors.SpecErrors(findings.errors)
    return found
