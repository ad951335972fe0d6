"""What a manifest says reaches the server as it is, whatever it looks like to us."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pantograph.dialects.base import verbatim
from pantograph.dialects.parameters import bound

PIECES = [":", "\\", "'", '"', "`", "a", "1", "%", "%%", "%s", ":a", "::", "\\:", " ", "\n", "?", "é", "$", "(", ")"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text()


@settings(deadline=None)  # the first call imports SQLAlchemy
@given(TEXTS, st.sampled_from(["pyformat", "format", "qmark"]))
def test_text_of_others_is_sent_as_it_is(text, style):
    sql, _ = bound(style, f"select ({verbatim(text)}) from x where a = :k0")
    sent = text if style == "qmark" else text.replace("%", "%%")  # which the driver undoes
    assert sql.startswith(f"select ({sent}) from x where a = ")
