"""Names of our objects: a readable prefix and a hash, within the length the engine allows."""

from __future__ import annotations

import hashlib
import re


def capture_id(schema: str, table: str) -> str:
    """A short, stable id of a table's capture: the same table has the same id in every run and every process."""
    return hashlib.sha256(f"{schema}\0{table}".encode()).hexdigest()[:10]


def ours(kind: str, readable: str, identity: str, limit: int) -> str:
    """`kind_readable_hash`, at most `limit` bytes long.

    Two tables whose names abbreviate alike never share an object, because the hash is of the whole identity.
    Only ASCII letters, digits and underscores are kept, so that the name needs no quoting on any engine.
    """
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    words = re.sub(r"[^a-z0-9_]+", "_", readable.lower()).strip("_") or "t"
    room = limit - len(kind) - len(digest) - 2
    return f"{kind}_{words[:room].rstrip('_')}_{digest}"


_PLAIN = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
LABEL = 63
"""The longest name that Kubernetes takes as a label as well."""


def of_object(schema: str, table: str) -> str:
    """What the objects of a table are called: `orders`, `sales.order-lines`. schema: "" for the default one.

    It depends on nothing but the table, so it is the same in every run. Where the table's name cannot be read from it
    (capitals, blanks, a name too long), a hash keeps it apart from others that would be written alike.
    """
    parts = [schema, table] if schema else [table]
    name = ".".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") or "t" for part in parts)
    if all(map(_PLAIN.fullmatch, parts)) and len(name) <= LABEL:
        return name
    digest = hashlib.sha256(f"{schema}\0{table}".encode()).hexdigest()[:8]
    return f"{name[: LABEL - len(digest) - 1].rstrip('.-')}-{digest}"
