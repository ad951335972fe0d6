"""Live copies of SQL tables: capture by triggers, windows of what was committed, one transaction at the destination."""

__version__ = "0.1.0.dev0"  # the one place: the wheel, `pantograph --version` and the image read it here
