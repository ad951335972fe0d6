"""Which stored functions of an expression can change their mind, by what they were declared to be."""

from __future__ import annotations

from pantograph import errors
from pantograph.api.expressions import EXPECTED, Expression
from pantograph.dialects.base import Session


def judge(session: Session, expression: Expression, database: str) -> None:
    """Raise `SpecError` naming a stored function that may yield something else with no change of the row."""
    for call in expression.calls:
        found = session.row(
            "select is_deterministic, sql_data_access from information_schema.routines "
            "where routine_type = 'FUNCTION' and routine_schema = :schema and routine_name = :name",
            schema=call.schema or database,
            name=call.name,
        )
        if found is None:
            continue
        deterministic, access = found
        name = f"{call.schema}.{call.name}()" if call.schema else f"{call.name}()"
        if access in ("READS SQL DATA", "MODIFIES SQL DATA"):
            raise errors.SpecError(f"{name} is declared to read or write tables; {EXPECTED}", path=expression.path)
        if deterministic != "YES":
            raise errors.SpecError(
                f"{name} is not declared deterministic, so it can change with no change of the row; {EXPECTED}",
                path=expression.path,
            )
