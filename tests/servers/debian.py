"""Servers as Debian's unstable packages them, beside what is installed on this machine.

Their packages are fetched and unpacked; no script of theirs is run, and nothing of this system is touched. Each program
is started by the loader of its own system with its own libraries. What was taken is kept in the cache and not fetched
again; the newest is what was the newest then.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from tests.servers import processes

SUITE = "sid"
MIRROR = "http://deb.debian.org/debian"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """A server is not here, and cannot be had; says why."""


def newest() -> bool:
    """Are the tests to run against the newest servers? Against those that are installed unless so."""
    wanted = os.environ.get("PANTOGRAPH_TEST_VERSIONS", "installed")
    if wanted not in ("installed", "newest"):
        raise RuntimeError(f"PANTOGRAPH_TEST_VERSIONS is {wanted!r}; expected installed or newest")
    return wanted == "newest"


def mirror() -> list[str]:
    """The mirror that this machine's apt uses; none when it cannot be told."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.split()[:1]


@dataclass(frozen=True)
class Release:
    """What is taken of a server.

    programs, files: patterns of paths in its system. libraries: names of those that a program asks for while it runs,
    beside those that it is linked with.
    """

    name: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    files: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    @functools.cache  # noqa: B019 - there are four of them
    def installation(self) -> pathlib.Path:
        """A folder with the server and all that it needs, at the paths of its own system, where its account may read.

        Fetched when it is not in the cache, which takes half a minute. Raises `Unavailable`.
        """
        folder = processes.run_folder() / f"{self.name}-files"  # root's cache is closed to others
        processes.copy_used(self._kept(), folder)
        return folder

    def path(self, pattern: str) -> pathlib.Path:
        """The one file or folder of the installation that the pattern names."""
        (found,) = self.installation().glob(pattern)
        return found

    def _kept(self) -> pathlib.Path:
        how = inspect.getsource(_take) + inspect.getsource(_keep_links_within) + inspect.getsource(_run_by_own_loader)
        key = hashlib.sha256(f"{SUITE} {self} {how}".encode()).hexdigest()[:16]
        kept = processes.CACHE / "servers" / f"{self.name}-files-{key}"
        if not kept.exists() and not shutil.which("apt-get"):
            raise Unavailable(f"no {self.name} server here: it is taken out of Debian's {SUITE}, by apt-get")
        with processes.made_once(kept) as part:
            if part is not None:
                try:
                    _take(self, part)
                except RuntimeError as error:  # unstable may be in the middle of a transition
                    shutil.rmtree(part, ignore_errors=True)
                    raise Unavailable(
                        f"no {self.name} server here: Debian's {SUITE} does not give it: {error}"
                    ) from error
        return kept


def _take(release: Release, folder: pathlib.Path) -> None:
    """Only its programs, what they read and the libraries that they load: a fraction of what the packages hold."""
    with tempfile.TemporaryDirectory(prefix=f"pantograph-{release.name}-") as made:
        state, root = pathlib.Path(made) / "apt", pathlib.Path(made) / "root"
        for each in ("lists/partial", "archives/partial"):
            (state / each).mkdir(parents=True)
        (state / "status").touch()  # as on a machine on which nothing is installed
        signed = f"[signed-by={KEYS}] " if os.path.exists(KEYS) else ""
        (state / "sources.list").write_text(f"deb {signed}{(mirror() or [MIRROR])[0]} {SUITE} main\n")
        settings = {
            "Dir::State": state, "Dir::State::lists": state / "lists", "Dir::State::status": state / "status",
            "Dir::Cache": state, "Dir::Cache::archives": state / "archives",
            "Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null", "Dir::Etc::preferences": "/dev/null",
            "APT::Install-Recommends": "false", "APT::Sandbox::User": "", "Acquire::Languages": "none",
        }  # fmt: skip
        apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in settings.items())]
        processes.run([*apt, "update"], None)
        processes.run([*apt, "install", "--yes", "--download-only", *release.packages], None)
        for package in sorted((state / "archives").glob("*.deb")):
            processes.run(["dpkg-deb", "--extract", str(package), str(root)], None)
        _keep_links_within(root)
        for pattern in (*release.programs, *release.files):
            found = list(root.glob(pattern))
            if not found:
                raise RuntimeError(f"{', '.join(release.packages)} has no {pattern}")
            for path in found:
                target = folder / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, target, ignore_dangling_symlinks=True, dirs_exist_ok=True)
                else:
                    shutil.copy(path, target)
        libraries = next((root / "usr/lib").glob("*-linux-gnu*"))
        (loader,) = libraries.glob("ld-linux*.so.*")
        listing = [str(loader), "--library-path", str(libraries), "--list"]
        (folder / "lib").mkdir()
        shutil.copy(loader, folder / "lib")
        for pattern in release.libraries:
            for path in libraries.glob(pattern):
                shutil.copy(path, folder / "lib")
        programs = [path for pattern in release.programs for path in folder.glob(pattern)]
        for loaded in [*programs, *folder.rglob("*.so"), *(folder / "lib").glob("lib*")]:
            listed = subprocess.run([*listing, str(loaded)], capture_output=True, text=True, check=False)
            for library in re.findall(r"=> (/\S+) \(0x", listed.stdout):
                if not (folder / "lib" / pathlib.Path(library).name).exists():
                    shutil.copy(library, folder / "lib")
        for program in programs:
            _run_by_own_loader(program, folder / "lib" / loader.name)


def _keep_links_within(root: pathlib.Path) -> None:
    """Links to a path of its own system lead there, and not to that path on this one."""
    for link in [path for path in root.rglob("*") if path.is_symlink()]:
        if (to := os.readlink(link)).startswith("/"):
            link.unlink()
            link.symlink_to(os.path.relpath(root / to.lstrip("/"), link.parent))


def _run_by_own_loader(program: pathlib.Path, loader: pathlib.Path) -> None:
    """Put a script in the program's place that runs it with the libraries beside the loader, wherever it is copied to.

    It is called by its absolute path, which is also the name that the program sees: some look for their files from it.
    """
    if not program.read_bytes().startswith(b"\x7fELF"):
        raise RuntimeError(f"{program} is a script, and would run what is installed here")
    real = program.with_name(f"{program.name}.elf")
    program.rename(real)
    libraries = os.path.relpath(loader.parent, program.parent)
    program.write_text(
        "#!/bin/sh\n"
        f'here="${{0%/*}}/{libraries}"\n'
        f'exec "$here/{loader.name}" --argv0 "$0" --library-path "$here" "$0.elf" "$@"\n'
    )
    program.chmod(0o755)
