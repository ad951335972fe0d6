"""Firebird 3 and later, through fdb."""

from pantograph.dialects.firebird.dialect import Firebird

__all__ = ["Firebird"]
