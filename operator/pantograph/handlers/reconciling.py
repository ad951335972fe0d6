"""One group brought about: parse, observe, plan, execute, report. The same for every kind and every reason to look.

Nothing here depends on what has changed: a create, an update, a restart and the clock all come to the same look at what
is wanted and what is there. Planning what was just applied yields nothing, so that looking again costs a few SELECTs.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pantograph import dialects, errors
from pantograph.api import acting, base
from pantograph.api.databases import Database
from pantograph.api.manifests import KINDS, Key, Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.apply import expressions, observe, prepare, sources
from pantograph.apply.prepare import Captured, Report
from pantograph.apply.sources import Wanted
from pantograph.database.addresses import address
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Dialect, Role
from pantograph.handlers import outcomes, removing
from pantograph.handlers.claiming import Claims
from pantograph.handlers.known import Entry, Group, Known
from pantograph.handlers.outcomes import Outcome
from pantograph.kube import objects, secrets, services, workloads
from pantograph.kube.objects import Cluster, Object
from pantograph.kube.workloads import Template
from pantograph.pipeline import steps

MANAGER = "pantograph-operator"
LOOK_AGAIN = 300.0
"""Seconds until a group is looked at without a reason: what drifts with no event is found then."""
FIRST_RETRY, SLOWEST_RETRY = 2.0, 120.0
SOON = 1.0
DDL_PATIENCE = 20.0
"""Seconds that somebody may be in the way of our DDL before another group has the worker."""

Tell = Callable[..., None]


@dataclass
class Memory:
    """What is remembered of a group between two looks."""

    outcome: Outcome | None = None
    applied: str = ""
    applied_at: float = 0.0
    backoff: float = 0.0
    trouble: str = ""


class Reconciler:
    """Brings groups about. One group is in one thread at a time; several groups are in several."""

    def __init__(
        self,
        cluster: Cluster,
        known: Known,
        template: Template,
        tell: Tell,
        stop: threading.Event,
        again: Callable[[Key, float], None],
        looked: Callable[[Group, Outcome, float], None],
    ) -> None:
        self._cluster, self._known, self._template = cluster, known, template
        self._tell, self._stop, self._again, self._looked = tell, stop, again, looked
        self._memories: dict[Key, Memory] = {}
        self._addresses: dict[Key, Address] = {}
        self._claims = Claims()

    def reconcile(self, key: Key, *, whole: bool) -> None:
        """Look at a group, do what is to be done, say how it is, and have it looked at again in time."""
        group = self._known.group(key)
        if not group.members:
            self._memories.pop(key, None)
            self._claims.of(key, None)
            return
        memory = self._memories.setdefault(key, Memory())
        if whole or memory.outcome is None:
            began = time.monotonic()
            memory.outcome = self._look(group, memory)
            self._looked(group, memory.outcome, time.monotonic() - began)
            self._again(key, self._next(group, memory, memory.outcome))
        self._report(group, memory, memory.outcome)

    def _next(self, group: Group, memory: Memory, outcome: Outcome) -> float:
        """Seconds until the next whole look; not at the same moment as all the others."""
        if outcome.leaving or outcome.passing:
            memory.backoff = min(SLOWEST_RETRY, max(FIRST_RETRY, memory.backoff * 2))
            waiting = any("waiting for" in why for why in outcome.leaving.values())
            return SOON if waiting else memory.backoff * random.uniform(0.8, 1.2)
        memory.backoff = 0.0
        return LOOK_AGAIN * random.uniform(0.7, 1.3)

    # -- parse -------------------------------------------------------------------------------------------------------

    def _look(self, group: Group, memory: Memory) -> Outcome:
        outcome = Outcome(generations={(one.kind, one.key): one.generation for one in group.members})
        for one in group.members:
            if one.failure is not None:
                outcome.fail(one, one.failure)
            if not one.deleting:
                self._take_finalizer(one)
        manifests = self._manifests(group, outcome)
        wanted = self._wanted(group, manifests, outcome)
        conflicts, others = self._claims.of(group.key, wanted)
        for other in others:
            self._again(other, 0.0)
        for one in group.reflections:
            if (conflict := conflicts.get(_name(one))) is not None:
                outcome.fail(one, conflict)
        if wanted is not None:
            wanted = _without(wanted, {_name(one) for one in group.reflections if outcome.failure(one)})
        self._remove(group, memory, outcome, wanted)
        database = group.database
        if database is not None and not database.deleting and outcome.failure(database) is None:
            self._prepare(group, manifests, wanted, outcome)
            self._deploy(group, database, manifests, wanted, memory, outcome)
        return outcome

    def _take_finalizer(self, one: Entry) -> None:
        """Before anything is made for an object: it may not go without us from now on."""
        there = one.body["metadata"].get("finalizers")
        if base.FINALIZER in (there or ()):
            return
        add = (
            {"op": "add", "path": "/metadata/finalizers/-", "value": base.FINALIZER}
            if there
            else {"op": "add", "path": "/metadata/finalizers", "value": [base.FINALIZER]}
        )
        version = one.body["metadata"]["resourceVersion"]
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        self._cluster.patch(_kind(one), *one.key, [test, add])

    def _manifests(self, group: Group, outcome: Outcome) -> Manifests:
        """The objects of the group that can be worked on, with the Databases and Secrets that they need.

        What is wrong with one, or missing for one, goes into the outcome, and all that hangs on it waits.
        """
        databases: dict[Key, Database] = {}
        entries = [*filter(None, [group.database]), *(group.destination(one) for one in group.reflections)]
        for one in entries:
            if one is not None and isinstance(one.resource, Database):
                databases[one.key] = one.resource
        there = secrets.named(self._cluster, databases.values())
        wrong: dict[Key, errors.PantographError] = {}
        for key, database in databases.items():
            missing = [name for name in database.secret_names if (key[0], name) not in there]
            if missing:
                wrong[key] = errors.DependencyNotReady(
                    f"there is no Secret {missing[0]} in namespace {key[0]}", reason="SecretNotFound"
                )
        tables = {one.key: one for one in group.tables if isinstance(one.resource, SourceTable) and not one.deleting}
        reflections = {
            one.key: one for one in group.reflections if isinstance(one.resource, Reflection) and not one.deleting
        }
        whole = Manifests(
            databases=databases,
            source_tables={k: e.resource for k, e in tables.items() if isinstance(e.resource, SourceTable)},
            reflections={k: e.resource for k, e in reflections.items() if isinstance(e.resource, Reflection)},
            secrets=there,
        )
        known_wrong = dict(wrong)
        for error in [*whole.problems(), *acting.unsupported(whole)]:
            for one in (*entries, *tables.values(), *reflections.values()):
                if one is not None and one.subject == error.subject and not _of_a_reference(error):
                    if one.kind == "Database":
                        known_wrong.setdefault(one.key, _here(error))
                    else:
                        outcome.fail(one, _here(error))
        if group.database is not None and group.database.key in known_wrong:
            outcome.fail(group.database, known_wrong[group.database.key])
        self._waiting_for_databases(group, known_wrong, outcome)
        usable = Manifests(
            databases={k: d for k, d in databases.items() if k not in known_wrong},
            source_tables={
                k: t for k, t in whole.source_tables.items() if outcome.failure(tables[k]) is None
            },
            reflections={
                k: r for k, r in whole.reflections.items() if outcome.failure(reflections[k]) is None
            },
            secrets=there,
        )  # fmt: skip
        return services.located(usable)

    def _waiting_for_databases(self, group: Group, wrong: dict[Key, errors.PantographError], outcome: Outcome) -> None:
        def missing(entry: Entry | None, name: str) -> errors.PantographError | None:
            if entry is None:
                return errors.DependencyNotReady(
                    f"there is no Database {name} in namespace {group.key[0]}", reason="DatabaseNotFound"
                )
            if entry.deleting:
                return errors.DependencyNotReady(f"Database {name} is being deleted", reason="DatabaseDeleted")
            failure = wrong.get(entry.key) or entry.failure
            return failure and errors.DependencyNotReady(
                f"Database {name} cannot be used: {failure}", reason="DatabaseNotReady"
            )

        source = missing(group.database, group.key[1]) if group.key[1] else None
        for table in group.tables:
            if source is not None:
                outcome.fail(table, source)
        tables = {one.key[1]: one for one in group.tables}
        for one in group.reflections:
            name = one.refers("sourceTableRef", "name")
            copied = tables.get(name)
            destination = missing(group.destination(one), one.refers("destination", "databaseRef", "name"))
            if copied is None:
                error: errors.PantographError | None = errors.DependencyNotReady(
                    f"there is no SourceTable {name} in namespace {group.key[0]}", reason="SourceTableNotFound"
                )
            elif copied.deleting:
                error = errors.DependencyNotReady(f"SourceTable {name} is being deleted", reason="SourceTableDeleted")
            else:
                error = source or destination
                if error is None and (failure := outcome.failure(copied)) is not None:
                    error = errors.DependencyNotReady(
                        f"SourceTable {name} cannot be used: {failure}", reason="SourceTableNotReady"
                    )
            if error is not None:
                outcome.fail(one, error)

    def _wanted(self, group: Group, manifests: Manifests, outcome: Outcome) -> Wanted | None:
        database = group.database
        for key, one in manifests.databases.items():
            self._addresses[key] = address(manifests, one)
        if database is None or database.key not in manifests.databases or database.deleting:
            return None
        adopt = database.annotations.get(base.ADOPT) == "true"
        of_source = {k: v for k, v in manifests.source_tables.items() if v.database_key == group.key}
        only = Manifests(manifests.databases, of_source, manifests.reflections, manifests.secrets)
        found = sources.wanted(only, installation=self._template.installation, adopt=adopt)
        return found[0] if found else None

    # -- observe, plan, execute --------------------------------------------------------------------------------------

    def _prepare(self, group: Group, manifests: Manifests, wanted: Wanted | None, outcome: Outcome) -> None:
        """Capture in the source, tables in the destinations; `apply.prepare` observes, plans and executes."""
        database = group.database
        assert database is not None
        where = self._addresses[database.key]
        if where.path:
            # A file is where the reflector's pod mounts it: what the operator does elsewhere, that one does here.
            outcome.connected, outcome.server = True, "a file, opened by the reflector's pod"
            outcome.prepared |= {
                one.key for one in group.reflections if outcome.failure(one) is None and not one.deleting
            }
            return
        report = Report()
        dialect = dialects.load(where)
        try:
            session = Session(dialect, Role.ADMIN if wanted else Role.SIDE)
        except errors.PantographError as error:
            self._source_failed(group, outcome, error)
            return
        try:
            with session.step(steps.INSPECT):
                outcome.server = dialect.server(session).version
            outcome.connected = True
            if wanted is None:
                return
            captured, _ = prepare.source(
                session, dialect, wanted.owner, wanted.tables, report, lease=wanted.lease, adopt=wanted.adopt,
                patience=DDL_PATIENCE, waiting=self._waiting(database), sleep=self._sleep,
            )  # fmt: skip
            self._captured(group, captured, report, outcome, dialect)
            others = {one[0] for one in observe.registrations(session, dialect)} - {wanted.owner}
            for target, copies in wanted.copies.values():
                self._destination(session, dialect, target, copies, wanted, captured, sorted(others), report)
            self._prepared(group, wanted, report, outcome)
        except errors.PantographError as error:
            self._source_failed(group, outcome, error)
        finally:
            session.close()
            for place, action in report.actions:
                self._tell("changed a database", database=place, action=action.summary)

    def _destination(
        self,
        session: Session,
        dialect: Dialect,
        target: Address,
        copies: Sequence[prepare.WantedCopy],
        wanted: Wanted,
        captured: dict[str, Captured],
        previous: Sequence[str],
        report: Report,
    ) -> None:
        if target.path:
            return

        try:
            writes = dialects.load(target)
            there = Session(writes, Role.ADMIN)
        except errors.PantographError as error:
            report.failed.update({copy.name: error for copy in copies})
            return
        try:
            prepare.copies(
                there, writes, dialect, wanted.owner, copies, captured, report, previous=previous,
                try_rows=expressions.trying(session, dialect), ask=expressions.asking(session, dialect),
                alter=lambda _: False,  # a table is widened by the reflector, while it does not write there
            )  # fmt: skip
        except errors.PantographError as error:
            report.failed.update({copy.name: error for copy in copies})
        finally:
            there.close()

    def _captured(
        self, group: Group, captured: dict[str, Captured], report: Report, outcome: Outcome, dialect: Dialect
    ) -> None:
        for table in group.tables:
            if (failure := report.failed.get(table.subject)) is not None:
                outcome.fail(table, failure)
            elif (one := captured.get(table.subject)) is not None:
                outcome.captured[table.key] = one
                outcome.blind_spots[table.key] = tuple(dialect.blind_spots(one.shape))

    def _prepared(self, group: Group, wanted: Wanted, report: Report, outcome: Outcome) -> None:
        asked = {copy.name for _, copies in wanted.copies.values() for copy in copies}
        for one in group.reflections:
            failure = report.failed.get(_name(one))
            if _name(one) not in asked:
                continue
            if failure is not None and failure.reason != "Widening":
                outcome.fail(one, failure)
            else:
                outcome.prepared.add(one.key)

    def _source_failed(self, group: Group, outcome: Outcome, error: errors.PantographError) -> None:
        assert group.database is not None
        outcome.connected = outcome.connected and not isinstance(error, errors.Unreachable)
        outcome.fail(group.database, error)
        waits = errors.DependencyNotReady(f"{group.database.subject}: {error}", reason=f"Source{error.reason}")
        for one in (*group.tables, *group.reflections):
            outcome.fail(one, waits)

    def _deploy(
        self,
        group: Group,
        database: Entry,
        manifests: Manifests,
        wanted: Wanted | None,
        memory: Memory,
        outcome: Outcome,
    ) -> None:
        """The reflector's objects: there while the Database has a SourceTable that is not to go."""
        if not self._template.image:
            return
        if not any(not table.deleting for table in group.tables):
            self._stop_reflector(group.key)
            memory.applied = ""
            return
        assert isinstance(database.resource, Database)
        named = {*database.resource.secret_names}
        for one in group.reflections:
            destination = group.destination(one)
            if destination is not None and isinstance(destination.resource, Database):
                named |= {*destination.resource.secret_names}
        rendered = workloads.render(database.resource, named, self._template)
        mark = workloads.fingerprint(rendered)
        there = self._known.deployment(group.key)
        if memory.applied == mark and there is not None and time.monotonic() - memory.applied_at < LOOK_AGAIN:
            return
        try:
            for kind, body in rendered:
                self._refuse_foreign(kind, body)
                self._cluster.apply(kind, body, MANAGER)
            memory.applied, memory.applied_at = mark, time.monotonic()
        except errors.ClusterError as error:
            outcome.fail(database, error)

    def _refuse_foreign(self, kind: objects.Kind, body: Object) -> None:
        """Something of the same name that is not ours is left alone."""
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        there = self._cluster.get(kind, namespace, name)
        uid = body["metadata"]["ownerReferences"][0]["uid"]
        if there is not None and not any(one["uid"] == uid for one in there["metadata"].get("ownerReferences") or ()):
            raise errors.ClusterError(
                f"there is a {kind.kind} {name} that is not ours; delete it, or name the Database otherwise", status=409
            )

    def _stop_reflector(self, key: Key) -> bool:
        """Have the reflector go; whether it is gone, with its pods."""
        name = workloads.name_of(key[1])
        there = self._known.deployment(key) is not None and self._cluster.get(objects.DEPLOYMENT, key[0], name)
        if there and any(
            one.get("kind") == "Database" and one["name"] == key[1]
            for one in there["metadata"].get("ownerReferences") or ()
        ):
            for kind in (objects.DEPLOYMENT, objects.ROLE_BINDING, objects.ROLE, objects.SERVICE_ACCOUNT):
                self._cluster.delete(kind, key[0], name)
        pods, _ = self._cluster.list(
            objects.POD,
            key[0],
            labelSelector=f"{workloads.DATABASE_LABEL}={key[1]},app.kubernetes.io/component=reflector",
        )
        return not pods

    # -- deletion ----------------------------------------------------------------------------------------------------

    def _remove(self, group: Group, memory: Memory, outcome: Outcome, wanted: Wanted | None) -> None:
        going = [one for one in group.members if one.deleting]
        if not going:
            return
        deployment = self._known.deployment(group.key)
        namespace = self._namespace_going(group.key[0])
        removing.members(
            group,
            outcome,
            removing.Doing(
                installation=self._template.installation,
                owner=f"{self._template.installation}/{group.key[0]}/{group.key[1]}",
                address=self._addresses.get,
                reflector_there=outcomes.reflector(deployment, wanted=True).available,
                namespace_going=namespace,
                now=datetime.now(UTC),
                sleep=self._sleep,
                release=self._release,
                say=self._say_left,
                stop_reflector=lambda: self._stop_reflector(group.key),
            ),
        )

    def _namespace_going(self, name: str) -> bool:
        try:
            there = self._cluster.get(objects.NAMESPACE, "", name)
        except errors.ClusterError:
            return False  # an operator of single namespaces may not look
        return there is None or "deletionTimestamp" in there["metadata"]

    def _release(self, one: Entry) -> None:
        """Let an object go."""
        there = list(one.body["metadata"].get("finalizers") or ())
        left = [name for name in there if name != base.FINALIZER]
        self._cluster.patch(
            _kind(one),
            *one.key,
            [
                {"op": "test", "path": "/metadata/finalizers", "value": there},
                {"op": "replace", "path": "/metadata/finalizers", "value": left},
            ],
        )
        self._tell("let go", object=f"{one.subject} in {one.key[0]}")

    def _say_left(self, one: Entry, reason: str, message: str) -> None:
        self._tell("left something behind", object=f"{one.subject} in {one.key[0]}", reason=reason, message=message)
        self._event(one, "Warning", reason, message)

    # -- report ------------------------------------------------------------------------------------------------------

    def _report(self, group: Group, memory: Memory, outcome: Outcome) -> None:
        """Write what is not said yet into the objects' status, and tell transitions as Events."""
        there = self._known.deployment(group.key)
        reads = bool(self._template.image) and any(not table.deleting for table in group.tables)
        pod = outcomes.reflector(there, wanted=reads)
        now = datetime.now(UTC)
        for one in group.members:
            if (one.kind, one.key) in outcome.gone:
                continue
            if outcome.generations.get((one.kind, one.key)) != one.generation:
                continue  # it came, or was changed, after the look; another one is on its way
            status = outcomes.status(one, group, outcome, pod, now)
            if not outcomes.differs(status, one):
                continue
            body = {
                "apiVersion": base.API_VERSION,
                "kind": one.kind,
                "metadata": {"name": one.key[1], "namespace": one.key[0]},
                "status": status,
            }
            try:
                self._known.see(self._cluster.apply(_kind(one), body, MANAGER, sub="status"))
            except errors.ClusterError as error:
                if error.status != 404:
                    raise
                continue
            if (told := outcomes.transition(status, one)) is not None:
                kind = "Normal" if told["status"] == "True" or told["reason"] in outcomes.MOVING else "Warning"
                self._event(one, kind, told["reason"], told.get("message") or told["reason"])
                self._tell(
                    "told a transition", object=f"{one.subject} in {one.key[0]}", ready=told["status"],
                    reason=told["reason"], message=told.get("message", ""),
                )  # fmt: skip

    def _event(self, one: Entry, type_: str, reason: str, message: str) -> None:
        """A Kubernetes Event about an object. One that cannot be told is no reason to fail."""
        metadata, at = one.body["metadata"], objects.timestamp()
        about = {
            "apiVersion": base.API_VERSION,
            "kind": one.kind,
            "namespace": one.key[0],
            "name": one.key[1],
            "uid": metadata.get("uid", ""),
        }
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{one.key[1][:200]}.", "namespace": one.key[0]},
            "involvedObject": about,
            "type": type_,
            "reason": reason[:128],
            "message": message[:1024],
            "source": {"component": "pantograph"},
            "reportingComponent": "pantograph",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            self._cluster.create(objects.EVENT, one.key[0], body)
        except errors.ClusterError as error:
            if error.status not in (403, 404):
                self._tell("could not post an Event", object=one.subject, message=str(error))

    def _waiting(self, database: Entry) -> Callable[[str], None]:
        return lambda text: self._tell("waited", object=f"{database.subject} in {database.key[0]}", message=text)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise errors.Contended("the operator was told to stop")


def _kind(one: Entry) -> objects.Kind:
    return objects.kind_of(KINDS[one.kind])


def _name(one: Entry) -> str:
    return f"{one.key[0]}/{one.key[1]}"


def _here(error: errors.SpecError) -> errors.SpecError:
    """The error without the object's name, which a status stands in."""
    return errors.SpecError(str(error.args[0]), path=error.path, reason=error.reason)


def _of_a_reference(error: errors.SpecError) -> bool:
    """Whether it says that another object is not there: that is waited for, and told in other words."""
    return error.path.endswith("Ref.name") or error.path.endswith("SecretName") or error.path.endswith("secretName")


def _without(wanted: Wanted, names: set[str]) -> Wanted:
    """The same without some Reflections."""
    copies = {
        name: (target, tuple(copy for copy in listed if copy.name not in names))
        for name, (target, listed) in wanted.copies.items()
    }
    return dataclasses.replace(wanted, copies={name: one for name, one in copies.items() if one[1]})
