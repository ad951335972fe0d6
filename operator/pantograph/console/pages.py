"""Every page: what it asks of the store, and what it hands to its template. No page acts on a GET."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pantograph import errors, wording
from pantograph.api import manifests as writing
from pantograph.api.base import Metadata, Reference, Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Destination, Reflection, ReflectionSpec
from pantograph.api.sourcetables import SourceTable, SourceTableSpec
from pantograph.console import charts, forms, settings
from pantograph.console.guard import Tokens
from pantograph.console.history import History, Rates, speeds
from pantograph.console.stores import (
    ACTS,
    Change,
    Figures,
    Looked,
    Nobody,
    NotThere,
    Plan,
    Problem,
    Setting,
    Standing,
    Store,
    Stores,
)
from pantograph.model import names

HERE = Path(__file__).parent
ORDER = ("bad", "busy", "unknown", "ok", "off")
SHOWN = 40
"""Of what happened."""


@dataclass(frozen=True)
class Visit:
    """One request: whose store, what was asked, what was sent."""

    site: Pages
    store: Store
    path: Mapping[str, str]
    query: Mapping[str, str]
    posted: Mapping[str, str]
    method: str
    url: str

    @property
    def token(self) -> str:
        """What this person's forms carry."""
        return self.site.tokens.of(self.store.token, self.store.person)

    def show(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """A page."""
        told = self.query.get("done", "")
        return self.site.render(template, status, visit=self, store=self.store, told=told, **values)


class Pages:
    """Templates, tokens and history; answers requests."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.tokens = Tokens()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.filters |= {
            "span": lambda value: "–" if value is None else wording.span(value),
            "count": lambda value: "–" if value is None else wording.count(value),
            "rate": _rate,
            "short": wording.short,
            "ago": _ago,
            "clock": lambda at: time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)),
            "iso": lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
            "path": lambda name: quote(name, safe=""),
        }
        self._templates.globals |= {"field_of": settings.field, "kinds": forms.KINDS, "system": forms.SYSTEM}

    def answer(self, page: Callable[[Visit], Response], request: Request, posted: str, stores: Stores) -> Response:
        """The page, or one that says why not."""
        store: Store | None = None
        headers = {name: "\n".join(request.headers.getlist(name)) for name in request.headers}
        try:
            store = stores(headers, request.client.host if request.client else "")
            sent = dict(parse_qsl(posted, keep_blank_values=True, max_num_fields=20_000))
            query = dict(request.query_params)
            visit = Visit(self, store, request.path_params, query, sent, request.method, str(request.url.path))
            if request.method == "POST" and not self.tokens.holds(sent.get("token", ""), store.token, store.person):
                return self._wrong(store, 403, "This form is of an earlier console: load the page again.")
            return page(visit)
        except Nobody as error:
            return self._wrong(None, 401, str(error))
        except NotThere as error:
            return self._wrong(store, 404, str(error))
        except errors.PantographError as error:
            return self._wrong(store, 502, str(error))
        except ValueError:
            return self._wrong(store, 400, "This form cannot be read.")
        except Exception as error:  # a bug: its place is told, and not its text, which may quote a row
            return self._wrong(store, 500, str(errors.Bug(error)))

    def render(self, template: str, status: int, /, **values: Any) -> Response:
        """A template with these values."""
        return HTMLResponse(self._templates.get_template(template).render(**values), status_code=status)

    def _wrong(self, store: Store | None, status: int, message: str) -> Response:
        return self.render("wrong.html", status, store=store, message=message, told="", status=status)


def _rate(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}/s" if 0 < value < 10 else f"{value:,.0f}/s"


def _ago(at: float) -> str:
    return f"{wording.span(max(1.0, time.time() - at))} ago"


# -- what is there -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A Reflection with all that a row of a table says."""

    one: Reflection
    name: str
    source: str
    destination: str
    standing: Standing
    figures: Figures
    rates: Rates
    spark: Any = ""

    @property
    def troubled(self) -> bool:
        """Whether a person should look."""
        return self.standing.state == "bad" or bool(self.figures.dead_letters or self.figures.held)


def _shown(visit: Visit, objects: Manifests, reflections: Sequence[Reflection]) -> list[Shown]:
    standings, figures = visit.store.standings(), visit.store.figures()
    visit.site.history.looked(figures)
    found = []
    for one in reflections:
        name = f"{one.namespace}/{one.name}"
        numbers = figures.get(name, Figures())
        samples = visit.site.history.of(name)
        found.append(
            Shown(
                one,
                name,
                _source(objects, one),
                f"{one.spec.destination.database_ref.name}: {one.qualified_table}",
                standings.get((one.KIND, one.key), Standing(one)),
                numbers,
                visit.site.history.rates(name, numbers),
                charts.spark([(s.at, s.lag) for s in samples], title=f"lag of {wording.short(name)}", least=0.1),
            )
        )
    return sorted(found, key=lambda row: (not row.troubled, ORDER.index(row.standing.state), row.name))


def _worst_lag(visit: Visit, rows: Sequence[Shown]) -> Any:
    """A chart of how far behind the one of them was that was furthest behind."""
    worst: dict[float, float | None] = {}
    for row in rows:
        for sample in visit.site.history.of(row.name):
            known = [lag for lag in (worst.get(sample.at), sample.lag) if lag is not None]
            worst[sample.at] = max(known, default=None)
    return charts.line(sorted(worst.items()), title="Lag", told=wording.span, least=0.1)


def _source(objects: Manifests, one: Reflection) -> str:
    table = objects.source_tables.get(one.source_key)
    return f"{table.spec.database_ref.name}: {table.qualified_table}" if table else one.spec.source_table_ref.name


def overview(visit: Visit) -> Response:
    """Everything, with what is wrong first."""
    objects = visit.store.objects()
    rows = _shown(visit, objects, list(objects.reflections.values()))
    standings = visit.store.standings()
    lags = [row.figures.lag for row in rows if row.figures.lag is not None and row.standing.state != "off"]
    moved = [row.rates.moved for row in rows if row.rates.moved is not None]
    return visit.show(
        "overview.html",
        rows=rows,
        databases=[(one, _standing(standings, one)) for _, one in sorted(objects.databases.items())],
        tables=[(one, _standing(standings, one)) for _, one in sorted(objects.source_tables.items())],
        counts={state: sum(row.standing.state == state for row in rows) for state in ORDER},
        lag=max(lags, default=None),
        moved=sum(moved) if moved else None,
        letters=sum(row.figures.dead_letters or 0 for row in rows),
        happened=visit.store.happened()[:12],
        wrong=visit.store.wrong(),
    )


def _standing(standings: Mapping[tuple[str, tuple[str, str]], Standing], one: Resource) -> Standing:
    return standings.get((one.KIND, one.key), Standing(one))


def _named(visit: Visit, among: Mapping[tuple[str, str], Any], kind: str) -> Any:
    key = (visit.path["namespace"], visit.path["name"])
    if key not in among:
        # What a person may not see looks the same as what is not there.
        why = " ".join([f"There is no {kind} {wording.short('/'.join(key))}.", *visit.store.wrong()])
        raise NotThere(why)
    return among[key]


def database(visit: Visit) -> Response:
    """A Database: what is read from it, and what is written to it."""
    objects = visit.store.objects()
    one: Database = _named(visit, objects.databases, "Database")
    standings = visit.store.standings()
    tables = objects.source_tables_of(one)
    read = {each.key for table in tables for each in objects.reflections_of(table)}
    concerned = [
        each for _, each in sorted(objects.reflections.items()) if each.key in read or each.destination_key == one.key
    ]
    rows = _shown(visit, objects, concerned)
    return visit.show(
        "database.html",
        one=one,
        standing=_standing(standings, one),
        tables=[(table, _standing(standings, table)) for table in tables],
        read=[row for row in rows if row.one.key in read],
        written=[row for row in rows if row.one.destination_key == one.key],
        lag_chart=_worst_lag(visit, rows),
        manifest=writing.to_yaml([one]),
        happened=_about(visit, one, concerned),
    )


def source_table(visit: Visit) -> Response:
    """A SourceTable: its capture, and its Reflections."""
    objects = visit.store.objects()
    one: SourceTable = _named(visit, objects.source_tables, "SourceTable")
    reflections = objects.reflections_of(one)
    rows = _shown(visit, objects, reflections)
    return visit.show(
        "table.html",
        one=one,
        database=objects.databases.get(one.database_key),
        standing=_standing(visit.store.standings(), one),
        rows=rows,
        lag_chart=_worst_lag(visit, rows),
        manifest=writing.to_yaml([one]),
        happened=_about(visit, one, reflections),
    )


def _about(visit: Visit, one: Resource, reflections: Sequence[Reflection]) -> list[Any]:
    names_ = {f"{each.namespace}/{each.name}" for each in (one, *reflections)}
    return [each for each in visit.store.happened() if each.about in names_][:SHOWN]


def reflection(visit: Visit) -> Response:
    """A Reflection: how it stands, how it has been, and what can be done with it."""
    objects = visit.store.objects()
    one: Reflection = _named(visit, objects.reflections, "Reflection")
    (row,) = _shown(visit, objects, [one])
    samples = visit.site.history.of(row.name)
    noted, why = None, ""
    try:
        noted = visit.store.noted(one)
    except errors.PantographError as error:
        why = str(error)
    return visit.show(
        "reflection.html",
        one=one,
        row=row,
        table=objects.source_tables.get(one.source_key),
        lag_chart=charts.line([(s.at, s.lag) for s in samples], title="Lag", told=wording.span, least=0.1),
        rate_chart=charts.line(speeds(samples), title="Rows a second", told=_whole, least=10.0),
        noted=noted,
        noted_why=why,
        compared=visit.store.compared(one),
        manifest=writing.to_yaml([one]),
        happened=_about(visit, one, [one]),
    )


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def nothing(visit: Visit) -> Response:
    """No page has this address."""
    raise NotThere(f"There is no page {visit.url}.")


# -- what can be done --------------------------------------------------------------------------------------------------


def _url(one: Resource) -> str:
    folder = {"Reflection": "reflections", "SourceTable": "tables", "Database": "databases"}[one.KIND]
    return f"/{folder}/{quote(one.namespace, safe='')}/{quote(one.name, safe='')}"


def _back(to: str, done: str) -> Response:
    # 303: whoever loads the page again does nothing again.
    return RedirectResponse(f"{to}?{urlencode({'done': done})}", status_code=303)


def act(visit: Visit) -> Response:
    """Pause, resume, resync, retry, verify, allow deletes."""
    one: Reflection = _named(visit, visit.store.objects().reflections, "Reflection")
    wanted = visit.path["act"]
    if wanted not in ACTS:
        raise NotThere(f"There is nothing called {wanted} to do.")
    count = visit.posted.get("count", "")
    return _back(_url(one), visit.store.act(one, wanted, int(count) if count.isascii() and count.isdigit() else 0))


def delete(visit: Visit) -> Response:
    """Ask, and then take a Reflection away."""
    objects = visit.store.objects()
    one: Reflection = _named(visit, objects.reflections, "Reflection")
    table = objects.source_tables.get(one.source_key)
    alone = table is not None and len(objects.reflections_of(table)) == 1
    if visit.method != "POST":
        return visit.show("delete.html", one=one, table=table if alone else None)
    return _back("/", visit.store.delete(one, table=alone and "table" in visit.posted))


# -- making and changing -----------------------------------------------------------------------------------------------


def new(visit: Visit) -> Response:
    """A Database, then one of its tables, then all the rest."""
    objects = visit.store.objects()
    asked = {**visit.query, **visit.posted}
    choice = asked.get("database", "")
    if not choice:
        return _choose_database(visit, objects)
    one = objects.databases.get(_key(choice))
    if one is None:
        return _choose_database(visit, objects, choice, f"there is no Database {wording.short(choice)}")
    if not asked.get("table"):
        return _choose_table(visit, objects, one)
    try:
        looked = visit.store.table(one, asked.get("schema", ""), asked["table"])
    except errors.SpecError as error:
        return _choose_table(visit, objects, one, str(error.args[0]), asked["table"])
    except errors.PantographError as error:
        return _choose_database(visit, objects, choice, str(error))
    return _Editing(visit, objects, looked, one).answer()


def _key(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    return namespace, name


def _choose_database(visit: Visit, objects: Manifests, choice: str = "", why: str = "") -> Response:
    return visit.show(
        "choose_database.html",
        400 if why else 200,
        databases=[one for _, one in sorted(objects.databases.items())],
        choice=choice,
        why=why,
    )


def _choose_table(visit: Visit, objects: Manifests, one: Database, why: str = "", at: str = "") -> Response:
    try:
        offers = visit.store.tables(one)
    except errors.PantographError as error:
        return _choose_database(visit, objects, f"{one.namespace}/{one.name}", str(error))
    wanted = visit.query.get("find", "").strip().casefold()
    found = [offer for offer in offers if wanted in f"{offer.schema}.{offer.table}".casefold()]
    status: Literal[200, 400] = 400 if why else 200
    return visit.show(
        "choose_table.html",
        status,
        one=one,
        offers=found,
        all=len(offers),
        find=visit.query.get("find", ""),
        why=why,
        at=at,
    )


def edit(visit: Visit) -> Response:
    """A Reflection that is there."""
    objects = visit.store.objects()
    one: Reflection = _named(visit, objects.reflections, "Reflection")
    table = objects.source_tables.get(one.source_key)
    database_ = objects.databases.get(table.database_key) if table else None
    looked, why = None, ""
    if table is not None and database_ is not None:
        try:
            looked = visit.store.table(database_, table.spec.schema_ or "", table.spec.table)
        except errors.PantographError as error:
            why = str(error)
    return _Editing(visit, objects, looked, database_, one, table, why).answer()


MEANWHILE = Problem("somebody changed it meanwhile; load the page again, and look first")


def _mark(one: Resource | None) -> str:
    """What tells an object, as it is now, from what it was when the form was made."""
    if one is None:
        return ""
    return hashlib.sha256(one.model_dump_json(by_alias=True, include={"spec"}).encode()).hexdigest()


@dataclass(frozen=True)
class _Editing:
    """The form of one Reflection. before: the one that is changed; None for a new one, which needs `looked`."""

    visit: Visit
    objects: Manifests
    looked: Looked | None
    source: Database | None
    before: Reflection | None = None
    table: SourceTable | None = None
    why: str = ""

    def answer(self) -> Response:
        shape = self.looked.shape if self.looked else None
        if self.visit.method != "POST":
            return self._show(forms.of_reflection(self.before or self._proposal(), shape))
        form = forms.of_post(self.visit.posted, shape, forms.of_reflection(self.before, shape) if self.before else None)
        asked = self.visit.posted.get("do", "check")
        if asked == "more":
            return self._show(replace(form, rows=(*form.rows, forms.Row(on=True, kind="expression"))))
        if self.before is not None and self.visit.posted.get("seen", "") != self._seen:
            return self._show(form, (MEANWHILE,))
        read = forms.read(form, self.before)
        if read.reflection is None or read.problems:
            return self._show(form, read.problems, read.columns)
        change = Change(
            read.reflection,
            forms.raw(self.before, self.visit.store.raw(self.before), read.reflection)
            if self.before
            else read.reflection.manifest(),
            None if self.before else self._new_table(read.reflection),
            self.before,
        )
        if asked == "apply":
            try:
                return _back(_url(read.reflection), self.visit.store.apply(change))
            except errors.SpecErrors as error:
                problems = tuple(Problem(str(one.args[0]), one.path) for one in error.errors)
                return self._show(form, problems, read.columns)
            except errors.PantographError as error:
                return self._show(form, (Problem(str(error)),), read.columns)
        plan = self.visit.store.plan(change)
        return self._show(form, plan.problems, read.columns, plan, change)

    @functools.cached_property
    def _taken(self) -> SourceTable | None:
        """The SourceTable of the chosen table, if there is one."""
        if self.looked is None or self.source is None:
            return None
        shape = self.looked.shape
        places = {(shape.schema, shape.name), (self.looked.schema, shape.name)}
        tables = self.objects.source_tables_of(self.source)
        return next((one for one in tables if (one.spec.schema_ or "", one.spec.table) in places), None)

    @functools.cached_property
    def _seen(self) -> str:
        return _mark(self.before)

    def _proposal(self) -> Reflection:
        assert self.looked is not None
        assert self.source is not None
        namespace, shape = self.source.namespace, self.looked.shape
        others = [one for key, one in sorted(self.objects.databases.items()) if key[0] == namespace]
        to = next((one for one in others if one.key != self.source.key), self.source)
        name = names.of_object(self.looked.schema, shape.name)
        taken = {found for space, found in self.objects.reflections if space == namespace}
        number = 1
        while (f"{name}-{number}" if number > 1 else name) in taken:
            number += 1
        return Reflection(
            metadata=Metadata(name=f"{name}-{number}" if number > 1 else name, namespace=namespace),
            spec=ReflectionSpec(
                source_table_ref=Reference(name=self._taken.name if self._taken else self._table_name()),
                destination=Destination(database_ref=Reference(name=to.name), table=shape.name),
            ),
        )

    def _table_name(self) -> str:
        assert self.looked is not None
        assert self.source is not None
        name = names.of_object(self.looked.schema, self.looked.shape.name)
        return name if (self.source.namespace, name) not in self.objects.source_tables else f"{self.source.name}-{name}"

    def _new_table(self, one: Reflection) -> SourceTable | None:
        assert self.looked is not None
        assert self.source is not None
        if self._taken is not None:
            return None
        return SourceTable(
            metadata=Metadata(name=one.spec.source_table_ref.name, namespace=self.source.namespace),
            spec=SourceTableSpec(
                database_ref=Reference(name=self.source.name),
                schema_=self.looked.schema or None,
                table=self.looked.shape.name,
                key_columns=self.looked.key_columns,
            ),
        )

    def _show(
        self,
        form: forms.Form,
        problems: Sequence[Problem] = (),
        numbers: Sequence[int] = (),
        plan: Plan | None = None,
        change: Change | None = None,
    ) -> Response:
        at = forms.fields(problems, form, numbers)
        yaml = ""
        if change is not None:
            yaml = writing.written([*([change.source_table.manifest()] if change.source_table else []), change.raw])
        namespace = self.before.namespace if self.before else self.source.namespace if self.source else "default"
        return self.visit.show(
            "form.html",
            400 if problems else 200,
            form=form.with_room(),
            before=self.before,
            seen=self._seen,
            source=self.source,
            table=self.table or self._taken,
            looked=self.looked,
            shape=self.looked.shape if self.looked else None,
            databases=[one for key, one in sorted(self.objects.databases.items()) if key[0] == namespace],
            at=at,
            plan=plan,
            yaml=yaml,
            why=self.why,
        )


# -- Databases and SourceTables ----------------------------------------------------------------------------------------

KEPT = {
    "databases": "Options of the driver and what shapes the reflector's pod are not shown here, and stay as written.",
    "sourcetables": "Which table it is, and how its rows are told apart, cannot be changed.",
}


def new_database(visit: Visit) -> Response:
    """A Database that is yet to be made."""
    spaces = sorted({namespace for namespace, _ in visit.store.objects().databases})
    return _setting(visit, "databases", None, settings.empty(spaces[0] if spaces else "default"))


def edit_database(visit: Visit) -> Response:
    """A Database that is there."""
    one: Database = _named(visit, visit.store.objects().databases, "Database")
    return _setting(visit, "databases", one, settings.values_of(one))


def edit_source_table(visit: Visit) -> Response:
    """A SourceTable that is there."""
    one: SourceTable = _named(visit, visit.store.objects().source_tables, "SourceTable")
    return _setting(visit, "sourcetables", one, settings.values_of(one))


def delete_database(visit: Visit) -> Response:
    """Ask, and then take away a Database that nothing names."""
    objects = visit.store.objects()
    one: Database = _named(visit, objects.databases, "Database")
    written = [each for _, each in sorted(objects.reflections.items()) if each.destination_key == one.key]
    return _drop(visit, one, [*objects.source_tables_of(one), *written])


def delete_source_table(visit: Visit) -> Response:
    """Ask, and then take away a SourceTable that nothing reads."""
    objects = visit.store.objects()
    one: SourceTable = _named(visit, objects.source_tables, "SourceTable")
    return _drop(visit, one, objects.reflections_of(one))


def _drop(visit: Visit, one: Database | SourceTable, named_by: Sequence[Resource]) -> Response:
    if visit.method != "POST" or named_by:
        return visit.show("drop.html", 400 if visit.method == "POST" else 200, one=one, named_by=named_by)
    return _back("/", visit.store.drop(one))


def _setting(visit: Visit, plural: str, before: Database | SourceTable | None, values: Mapping[str, str]) -> Response:
    def show(problems: Sequence[Problem] = (), yaml: str = "", found: str = "") -> Response:
        return visit.show(
            "setting.html", 400 if problems else 200, plural=plural, groups=settings.PARTS[plural], before=before,
            values=values, at=settings.fields(problems, plural), fixed=settings.fixed(before), seen=_mark(before),
            kept=KEPT[plural], yaml=yaml, found=found,
        )  # fmt: skip

    if visit.method != "POST":
        return show()
    values = settings.posted(visit.posted, plural, before)
    if visit.posted.get("seen", "") != _mark(before):
        return show((MEANWHILE,))
    read = settings.read(values, plural, before)
    if read.wanted is None or read.problems:
        return show(read.problems)
    raw = forms.raw(before, visit.store.raw(before), read.wanted) if before else read.wanted.manifest()
    setting = Setting(read.wanted, raw, before, read.login)
    yaml = writing.written([raw])
    # What is changed of one that is there may be that it cannot be opened: that is only said.
    applies = visit.posted.get("do") == "apply"
    plan = Plan() if applies and before else visit.store.tried(setting)
    if plan.problems or not applies:
        return show(plan.problems, yaml, plan.sql)
    try:
        return _back(_url(read.wanted), visit.store.put(setting))
    except errors.SpecErrors as error:
        return show(tuple(Problem(str(one.args[0]), one.path) for one in error.errors), yaml)
    except errors.PantographError as error:
        return show((Problem(str(error)),), yaml)
