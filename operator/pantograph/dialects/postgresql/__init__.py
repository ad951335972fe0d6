"""PostgreSQL, 13 and later."""

from pantograph.dialects.postgresql.dialect import PostgreSQL

__all__ = ["PostgreSQL"]
