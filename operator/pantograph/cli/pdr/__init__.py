"""`pantograph import-pdr`: the folder that PDR's `export` writes, as manifests, with what changed on the way and why.

PDR is the Pantograph Database Replicator, a Django application (https://github.com/meena-erian/pdr). Facts about it are
those of version 1.2.16. No database is asked: what only a database can tell, `plan` says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

from pantograph import errors
from pantograph.api import acting, manifests
from pantograph.cli import terminal
from pantograph.cli.outcomes import Status
from pantograph.cli.pdr import folder, translating
from pantograph.cli.pdr.translating import Translated


def run(path: Path, namespace: str, *, with_secrets: bool) -> Status:
    """Print the manifests, each under what changed; the same remarks go to standard error, and what is left to do.

    Raises `SpecErrors` where the folder is no such export.
    """
    translated = translating.translate(folder.read(path), namespace)
    told = [one for one in translated if with_secrets or one.body["kind"] != "Secret"]
    print("---\n".join(_text(one) for one in told), end="")
    for one in told:
        for remark in one.remarks:
            terminal.complain(f"{one.origin}: {remark}")
    for remark in _unfinished(translated):
        terminal.complain(remark)
    terminal.complain(_summary(translated))
    return Status.DONE


def _text(one: Translated) -> str:
    comments = [
        textwrap.fill(remark, 120, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False)
        for remark in one.remarks
    ]
    body = yaml.safe_dump(one.body, sort_keys=False, allow_unicode=True, width=120)
    return "\n".join([f"# PDR: {one.origin}", *comments, body])


def _unfinished(translated: list[Translated]) -> Iterator[str]:
    """What the manifests cannot be run with yet."""
    text = "---\n".join(yaml.safe_dump(one.body) for one in translated)
    try:
        found = manifests.from_text(text)
        wrong = acting.unsupported(found)
    except errors.SpecErrors as refused:
        wrong = list(refused.errors)
    for error in wrong:
        origin = translated[(error.document or 1) - 1].origin
        yield f"{origin}: cannot run as it is: {error.path}: {error.args[0]}"


def _summary(translated: list[Translated]) -> str:
    kinds = [one.body["kind"] for one in translated]
    counts = ", ".join(f"{kinds.count(kind)} {kind}s" for kind in ("Database", "SourceTable", "Reflection"))
    return f"{counts}; stop pdr-reflect before the first run, and look at `pantograph plan`"
