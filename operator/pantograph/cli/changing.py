"""`pantograph pause`, `resume` and `resync`: a field of a Reflection's manifest, changed in its file or in the cluster.

The files are what is wanted, so that is where it is said: a running mirror reads them again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pantograph import errors
from pantograph.api import editing
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection
from pantograph.cli import files, terminal
from pantograph.cli.outcomes import Status

Change = Callable[[Reflection], tuple[str, bool | str | None, str]]
"""Of a Reflection: the field, its new value (None: as without the field), and what was done in a word or two. The value
that it has already: nothing is changed."""


def pause(one: Reflection) -> tuple[str, bool | str | None, str]:
    """Move nothing; changes wait."""
    return "paused", True, "is paused already" if one.spec.paused else "paused"


def resume(one: Reflection) -> tuple[str, bool | str | None, str]:
    """Go on."""
    return "paused", None, "resumed" if one.spec.paused else "is not paused"


def resync(one: Reflection) -> tuple[str, bool | str | None, str]:
    """Copy everything again."""
    now = datetime.now(UTC)
    token = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if token == one.spec.resync_token:
        token = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return "resyncToken", token, "is copied again"


def run(change: Change, names: Sequence[str], paths: files.Given, namespace: str) -> Status:
    """Change the Reflections of these names, in their files or in the cluster."""
    if isinstance(paths, files.InCluster):
        return _in_cluster(change, names, paths, namespace)
    if "-" in paths:
        raise errors.SpecError("standard input cannot be changed; name the file", path="--file")
    manifests = files.load(paths, namespace)
    for one in files.named(manifests, names, namespace):
        print(f"Reflection {terminal.short(f'{one.namespace}/{one.name}')} {put(manifests, one, change)}")
    return Status.DONE


def _in_cluster(change: Change, names: Sequence[str], given: files.InCluster, namespace: str) -> Status:
    from pantograph.cli import incluster

    found, _ = incluster.with_status(incluster.connect(given), given)
    for one in files.named(found, names, namespace):
        field, value, done = change(one)
        if field != "paused" or bool(value) != one.spec.paused:
            incluster.change(given, one, field, value)
        print(f"Reflection {terminal.short(f'{one.namespace}/{one.name}')} {done}")
    return Status.DONE


def put(manifests: Manifests, one: Reflection, change: Change) -> str:
    """Change one manifest; what was done, and in which file."""
    field, value, done = change(one)
    if field == "paused" and bool(value) == one.spec.paused:
        return done
    return f"{done} ({_change(manifests, one, field, value)})"


def _change(manifests: Manifests, one: Reflection, field: str, value: bool | str | None) -> str:
    origin = manifests.origin(one)
    path = Path(origin.file or "")
    try:
        # As bytes: neither line ends nor a mark of its encoding may change on the way.
        text = path.read_bytes().decode("utf-8")
        mark, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
        write(path, mark + editing.put(text, origin, field, value))
    except editing.CannotEditError as error:
        raise origin.error(f"cannot be changed in place: {error}", f"spec.{field}") from None
    except OSError as error:
        raise errors.PantographError(f"{path} cannot be changed: {os.strerror(error.errno or 0)}") from error
    return str(path)


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all: whoever reads it meanwhile sees the old file or the new one."""
    real = Path(os.path.realpath(path))
    handle, made = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
        os.chmod(made, real.stat().st_mode & 0o7777)
        os.replace(made, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise
