"""The images: pause, a base made of Debian's packages, and ours, which the project's Dockerfile makes of that base.

Nothing is pulled: each is an archive as `docker save` writes it, kept by what it was made from.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile

from tests.cluster import programs
from tests.servers import debian, processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PAUSE = "localhost/pause:1"
BASE = "localhost/python-slim"
OURS = "localhost/pantograph"

# What a slim Python image has, as Debian packages it.
SUITE = "trixie"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python-is-python3")
# What images leave out: caches, documentation, other languages.
LEFT_OUT = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "dev",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)

CONTEXT = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "scripts/build-image", "operator")

_KEEP = 3  # of our images; each is 200 MB


def pause(built: pathlib.Path) -> pathlib.Path:
    """The archive of PAUSE."""
    archive = programs.KEPT / f"pause-{built.name}.tar"
    with processes.made_once(archive) as part, tempfile.TemporaryDirectory() as folder:
        if part is not None:
            shutil.copy(built / "pause", folder)
            save(part, PAUSE, pathlib.Path(folder), entrypoint=["/pause"])
    return archive


def base() -> tuple[str, pathlib.Path]:
    """The base image's name and archive."""
    how = inspect.getsource(_debian) + inspect.getsource(save)
    key = programs.content([], SUITE, *PACKAGES, *LEFT_OUT, how)
    name, archive = f"{BASE}:{key}", programs.KEPT / f"base-{key}.tar"
    with processes.made_once(archive) as part:
        if part is not None:
            print("making a base image of Debian's packages, once", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="pantograph-base-") as folder:
                _debian(pathlib.Path(folder) / "root")
                save(part, name, pathlib.Path(folder) / "root", cmd=["python3"])
    return name, archive


def _debian(root: pathlib.Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    processes.run([*command, *debian.mirror()], None)
    for name in LEFT_OUT:
        for path in (root / name).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (root / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        path.unlink()  # so that pip installs, as in the images of Python's own
    for name in ("etc/resolv.conf", "etc/hostname"):
        (root / name).write_text("")


def ours() -> tuple[str, pathlib.Path]:
    """The name and the archive of the image that the Dockerfile of this checkout makes."""
    return of(ROOT)


def of(root: pathlib.Path) -> tuple[str, pathlib.Path]:
    """The same of another checkout, or of what the image is made of (`CONTEXT`) copied from one."""
    context = [path for name in CONTEXT for path in (root / name, *(root / name).rglob("*")) if path.is_file()]
    context = [path for path in context if path.suffix != ".pyc"]
    base_name, base_archive = base()
    key = programs.content(context, base_name)
    name, archive = f"{OURS}:{key}", programs.KEPT / f"image-{key}.tar"
    with processes.made_once(archive) as part:
        if part is not None:
            _bud(root, name, base_name, base_archive, part)
    archive.touch()
    for old in sorted(programs.KEPT.glob("image-*.tar"), key=lambda path: path.stat().st_mtime)[:-_KEEP]:
        old.unlink(missing_ok=True)
    return name, archive


def _bud(root: pathlib.Path, name: str, base_name: str, base_archive: pathlib.Path, archive: pathlib.Path) -> None:
    """The project's own script, with buildah, which needs no daemon."""
    storage = programs.KEPT / "storage"
    storage.mkdir(exist_ok=True)
    settings = storage / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/images"\nrunroot = "{storage}/run"\n', encoding="utf-8"
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(settings),
        "BUILDAH_ISOLATION": "chroot",
        "BUILDAH_LAYERS": "true",
        "BUILDER": "buildah",
    }
    options = ["--network", "host", "--pull-never", "--build-arg", f"BASE_IMAGE={base_name}"]
    # What this machine trusts, for pip; it leaves nothing in the image.
    options += ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    for command in (
        ["buildah", "pull", "-q", f"docker-archive:{base_archive}"],
        [str(root / "scripts" / "build-image"), name, *options],
        ["buildah", "push", "-q", name, f"docker-archive:{archive}:{name}"],
        ["buildah", "rmi", name],  # its layers stay for the next one
    ):
        done = subprocess.run(
            command, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:2])} failed:\n{done.stdout[-4000:]}")


def save(archive: pathlib.Path, name: str, root: pathlib.Path, **config: list[str]) -> None:
    """Write a folder as an image of one layer, of the same digest each time; `config` is its entrypoint or its cmd."""

    def fixed(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tempfile.TemporaryFile(dir=archive.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(root.iterdir()):
                tar.add(path, path.name, filter=fixed)
        size = layer.tell()
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        description = {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": [f"PATH={PATH}"], **{key.capitalize(): value for key, value in config.items()}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z"}],  # a builder counts the layers here
        }
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        layer.seek(0)
        with tarfile.open(archive, "w") as tar:
            entry = tarfile.TarInfo("layer.tar")
            entry.size = size
            tar.addfile(entry, layer)
            for file, value in (("config.json", description), ("manifest.json", manifest)):
                data = json.dumps(value).encode()
                entry = tarfile.TarInfo(file)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
