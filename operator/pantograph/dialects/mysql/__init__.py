"""MySQL and MariaDB, which share an ancestor and most of their ways."""

from pantograph.dialects.mysql.dialect import MariaDB, MySQL

__all__ = ["MariaDB", "MySQL"]
