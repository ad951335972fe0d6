"""From a Database's manifest and its Secrets to an address that a dialect can connect to."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile

from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.dialects.base import Address


def address(manifests: Manifests, database: Database) -> Address:
    """The address of a Database. Certificates go into private files, because drivers want files."""
    spec = database.spec
    credentials = manifests.credentials_of(database)
    tls = manifests.tls_of(database)
    return Address(
        dialect=spec.dialect,
        host=credentials.host or "",
        port=credentials.port or 0,
        database=credentials.database or "",
        path=spec.path or "",
        username=credentials.username,
        password=credentials.password,
        tls_mode=spec.tls.mode if spec.tls else "",
        tls_ca=_file(tls.authorities),
        tls_cert=_file(tls.certificate),
        tls_key=_file(tls.private_key),
        options={name: str(value) for name, value in spec.options.items()},
        capture_schema=spec.capture_schema,
        notifies=spec.reflector.wake_up == "Notify",
    )


_folder = ""


def _file(content: bytes | None) -> str:
    """A private file with this content, gone when the process ends; "" for none. The same content is the same file, so
    that an address is another only when something about it is."""
    global _folder  # one folder a process, made when the first file is
    if not content:
        return ""
    if not _folder:
        _folder = tempfile.mkdtemp(prefix="pantograph-")
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    path = os.path.join(_folder, hashlib.sha256(content).hexdigest())
    if not os.path.exists(path):
        handle, temporary = tempfile.mkstemp(dir=_folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    return path
