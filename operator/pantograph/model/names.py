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
