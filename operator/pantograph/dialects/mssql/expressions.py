"""Which of the user's functions in an expression can change their mind: the server knows what is deterministic."""

from __future__ import annotations

from pantograph import errors
from pantograph.api.expressions import EXPECTED, Expression
from pantograph.dialects.base import Session


def judge(session: Session, expression: Expression) -> None:
    """Raise `SpecError` naming a function of the user's that may yield something else with no change of the row."""
    for call in expression.calls:
        if not call.schema:
            continue  # what has no schema is the server's own
        found = session.row(
            "select objectproperty(o.object_id, 'IsDeterministic') from sys.objects o "
            "where o.schema_id = schema_id(:schema) and o.name = :name and o.type in ('FN', 'FS')",
            schema=call.schema,
            name=call.name,
        )
        if found is not None and not found[0]:
            raise errors.SpecError(
                f"{call.schema}.{call.name}() is not deterministic for the server (WITH SCHEMABINDING it may be), so "
                f"it can change with no change of the row; {EXPECTED}",
                path=expression.path,
            )
