"""Ask the source what it makes of an expression, before any row is read with it."""

from __future__ import annotations

from collections.abc import Callable

from pantograph import errors
from pantograph.api import expressions, reading
from pantograph.api.expressions import Expression
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, verbatim
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import TableShape
from pantograph.pipeline import steps

Ask = Callable[[TableShape, str, str, bool], None]
"""`check` for one source: the table, the text, the field that holds it, whether it stands in WHERE."""


def asking(session: Session, dialect: Dialect) -> Ask:
    """`check` at this source."""
    return lambda shape, text, path, condition: check(session, dialect, shape, text, path, condition=condition)


def trying(session: Session, dialect: Dialect) -> Callable[[Mirror], None]:
    """Has this source read a Reflection's rows, for none of them: what it says of the SELECT it says before a copy."""

    def try_rows(mirror: Mirror) -> None:
        with session.step(steps.INSPECT):
            session.rows(f"select 1 from ({dialect.rows_of(mirror)}) q where 1 = 0")

    return try_rows


def check(session: Session, dialect: Dialect, shape: TableShape, text: str, path: str, *, condition: bool) -> None:
    """Raise `SpecError` unless the server takes the text as one expression over the columns of a row of the table.

    condition: it stands in WHERE. The server judges its functions before it evaluates anything, in a transaction that
    cannot write and for no row.
    """
    expression = expressions.judge(text, dialect.name, path)
    # Some engines take a name in quotes that is no column for a text, and say nothing.
    unknown = [name for name in expression.unknown([c.name for c in shape.columns]) if name != shape.name]
    if unknown and dialect.name == "sqlite":
        raise _no_column(expression, unknown[0], shape)
    place = dialect.table(shape.schema, shape.name)
    sql = verbatim(expression.sql)
    with session.step(steps.INSPECT):
        dialect.judge_expression(session, expression, shape)
        for statement in dialect.begin_read:
            session.direct(statement)
        try:
            session.rows(
                f"select 1 from {place} where 1 = 0 and ({sql})"
                if condition
                else f"select ({sql}) as x from {place} where 1 = 0"
            )
        except (errors.Unreachable, errors.Contended):
            raise
        except errors.DatabaseError as error:
            if unknown:
                raise _no_column(expression, unknown[0], shape) from error
            said = str(error).partition(f"{dialect.address.label}: ")[2] or str(error)
            raise errors.SpecError(f"{said}; {expressions.EXPECTED}", path=path) from error
        finally:
            session.rollback()


def _no_column(expression: Expression, name: str, shape: TableShape) -> errors.SpecError:
    have = [column.name for column in shape.columns]
    hint = reading.nearest(name, have) or f"; there are {', '.join(have)}"
    return errors.SpecError(f"no column {name} in {shape.label}{hint}", path=expression.path)
