"""Which stored functions of an expression can change their mind, by what they were declared to be."""

from __future__ import annotations

from pantograph import errors
from pantograph.api.expressions import EXPECTED, Expression
from pantograph.dialects.base import Session


def judge(session: Session, expression: Expression) -> None:
    """Raise `SpecError` naming a stored function that may yield something else with no change of the row."""
    for call in expression.calls:
        found = session.row(
            "select coalesce(rdb$deterministic_flag, 0) from rdb$functions "
            "where rdb$function_name in (:exact, :folded) and coalesce(rdb$system_flag, 0) = 0",
            exact=call.name,
            folded=call.name.upper(),
        )
        if found is not None and not found[0]:
            raise errors.SpecError(
                f"{call.name}() is not declared deterministic, so it can change with no change of the row; {EXPECTED}",
                path=expression.path,
            )
