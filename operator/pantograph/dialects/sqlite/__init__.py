"""SQLite: one file, one writer at a time, and a library instead of a server.

`engine` is the dialect; it leans on `connections` (opening, errors, functions of ours), `tables` (what a table is),
`values` (types and their forms), `capture` (event tables and triggers) and `windows` (reading events).
"""

from pantograph.dialects.sqlite.engine import SQLite

__all__ = ["SQLite"]
