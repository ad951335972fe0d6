"""What can go wrong, in the user's words.

Every error says what was attempted, on what, and what to do. None carries a secret or a value of a row: the text of a
driver's error may quote a row, so it is cut to the engine's code before it gets here (`database.failures`).
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence


class PantographError(Exception):
    """Something was attempted and did not come about; the text says what, on what, and what to do.

    `reason` is the CamelCase word that conditions, metrics and logs show for it.
    """

    reason = "Failed"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class SpecError(PantographError):
    """A manifest asks for what cannot be; permanent until it is changed.

    `path` is the field (`spec.columns[2].source`), `file` and `document` say where it was read, when it was a file.
    """

    reason = "InvalidSpec"

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        file: str | None = None,
        document: int | None = None,
        subject: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, reason=reason)
        self.path, self.file, self.document, self.subject = path, file, document, subject

    def __str__(self) -> str:
        where = self.file or ""
        if self.document is not None:
            where += f": document {self.document}" if where else f"document {self.document}"
        if self.subject:
            where += f" ({self.subject})" if where else self.subject
        text = ": ".join(part for part in (where, self.path, super().__str__()) if part)
        # A name of the user's may have a newline in it, or turn a terminal's letters blue.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SpecErrors(PantographError):
    """All that is wrong with a set of manifests, one line each."""

    reason = "InvalidSpec"

    def __init__(self, errors: Sequence[SpecError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)


class Bug(PantographError):
    """Something that nobody thought of. Its place is told, and not its text, which may quote a row's value."""

    reason = "Bug"

    def __init__(self, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = (
            f" in {frames[-1].name} ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
        )
        super().__init__(f"{type(error).__name__}{place}; this is a bug of Pantograph's")


class DependencyNotReady(PantographError):
    """Something this waits for is not there yet; look again shortly."""

    reason = "DependencyNotReady"


class DatabaseError(PantographError):
    """A database said no. `code` is the engine's own error code, `constraint` its constraint, where it names one."""

    reason = "DatabaseError"

    def __init__(
        self, message: str, *, code: str = "", constraint: str = "", table: str = "", reason: str | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.code, self.constraint, self.table = code, constraint, table


class Unreachable(DatabaseError):
    """The database cannot be reached, or the connection broke; try again, ever more slowly."""

    reason = "Unreachable"


class Refused(DatabaseError):
    """Wrong credentials or a missing grant, which is named; trying again does not help until somebody acts."""

    reason = "Refused"


class Contended(DatabaseError):
    """A lock, a deadlock or a serialization failure was in the way; the same turn may succeed now."""

    reason = "Contended"


class Rejected(DatabaseError):
    """The data does not fit: a constraint, a type or a length. `kind` says which of `Rejected.KINDS`."""

    reason = "Rejected"
    KINDS = ("unique", "foreign key", "not null", "check", "type", "length", "other")

    def __init__(
        self,
        message: str,
        *,
        kind: str = "other",
        code: str = "",
        constraint: str = "",
        table: str = "",
        reason: str | None = None,
    ) -> None:
        super().__init__(message, code=code, constraint=constraint, table=table, reason=reason)
        self.kind = kind

    def at(self, column: str) -> Rejected:
        """The same, and of which column: who converts a value sees it alone."""
        self.args = (f"{self.args[0]}: column {column}",)
        return self


class CaptureDrift(PantographError):
    """Capture, or the table under it, is not what was planned; plan again."""

    reason = "CaptureDrift"


class SchemaChanged(PantographError):
    """Columns of the source were dropped or have another type, and the destination's do not follow by themselves."""

    reason = "SchemaChanged"


class CaptureOwned(PantographError):
    """The capture in this source belongs to another installation; adopt it or leave it."""

    reason = "CaptureOwned"


class NewerVersion(PantographError):
    """What is ours in a database is in a form that only a newer version of Pantograph knows; use that one."""

    reason = "NewerVersion"


class StaleCheckpoint(PantographError):
    """Another reflector moved the checkpoint; what was read is thrown away and read again from there."""

    reason = "StaleCheckpoint"


class SourceMoved(PantographError):
    """The source is not the server that was read last, yet still holds a nonce we know: read again from there."""

    reason = "SourceMoved"


class PositionLost(PantographError):
    """The source cannot tell what happened since the checkpoint: sweep, or stop; never go on in silence."""

    reason = "PositionLost"


class ClusterError(PantographError):
    """The Kubernetes API said no, or did not answer. `status` is the HTTP status; 0 when there was no answer."""

    reason = "ClusterUnavailable"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message, reason="ClusterRefused" if status else None)
        self.status = status
