"""One engine each: features, renderings and sequences. Nothing outside this package compares an engine's name."""

from __future__ import annotations

import importlib

from pantograph import errors
from pantograph.dialects.base import Address, Dialect

# Module and class are looked up when a database of that dialect is used: a driver that nobody needs is never imported.
_DIALECTS = {
    "postgresql": ("postgresql", "PostgreSQL"),
    "mysql": ("mysql", "MySQL"),
    "mariadb": ("mysql", "MariaDB"),
    "sqlite": ("sqlite", "SQLite"),
    "firebird": ("firebird", "Firebird"),
    "mssql": ("mssql", "SQLServer"),
}


def load(address: Address) -> Dialect:
    """The dialect of an address.

    Raises `SpecError` for a dialect that does not exist, and `PantographError` in one line when its driver, or a
    library of the system that the driver needs, is missing.
    """
    try:
        module_name, class_name = _DIALECTS[address.dialect]
    except KeyError:
        known = ", ".join(sorted(_DIALECTS))
        raise errors.SpecError(f"found {address.dialect!r}, expected one of: {known}", path="spec.dialect") from None
    try:
        module = importlib.import_module(f"pantograph.dialects.{module_name}")
        dialect: type[Dialect] = getattr(module, class_name)
        return dialect(address)
    except ImportError as error:
        raise errors.PantographError(
            f"the driver for {address.dialect} cannot be loaded ({error}); install it, or use the image, which has it",
            reason="DriverMissing",
        ) from error
