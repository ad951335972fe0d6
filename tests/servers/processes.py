"""Server processes that die with the run that started them, and folders that do not outlive it for long."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import ctypes
import fcntl
import functools
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

CACHE = pathlib.Path(os.environ.get("PANTOGRAPH_CACHE") or "~/.cache/pantograph").expanduser()

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

# The kernel sends the death signal when the *thread* that forked ends, not the process. A test that restarts a server
# in a thread of its own would take it down again, so one thread, which lives as long as the process, starts them all.
_starter = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


def user_for(name: str) -> str | None:
    """The account a server runs as: its own when we are root (it refuses root), else ours."""
    return name if os.geteuid() == 0 else None


def start(
    command: Sequence[str], log: pathlib.Path, user: str | None, death: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start a server that gets `death` when we are gone, SIGKILL of ours included."""

    def die_with_parent() -> None:
        # After the change of user, which would reset it; subprocess calls this last.
        _libc.prctl(_PR_SET_PDEATHSIG, int(death))

    def popen() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the run, which then stops its servers in order
                preexec_fn=die_with_parent,
                **_credentials(user),
            )

    return _starter.submit(popen).result()


def run(command: Sequence[str], user: str | None) -> None:
    """Run a set-up command to its end; its output is the error when it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        **_credentials(user),
    )
    if done.returncode:
        raise RuntimeError(
            f"{command[0]} failed with status {done.returncode}:\n{done.stdout.decode(errors='replace')}"
        )


def _credentials(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    account = pwd.getpwnam(user)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [account.pw_gid]}


def kill_tree(pid: int) -> None:
    """SIGKILL a process and its children, as a machine that loses power would.

    PostgreSQL's backends are in sessions of their own and outlive a killed postmaster by a while, in which the data
    folder cannot be opened again. The parent is stopped first, so that it starts no child behind our back.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    children = [
        int(child)
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    for each in (pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on and that the kernel gives to no outgoing connection, so that a server which is
    stopped for a while finds it free again."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(max(1024, low - 12000), low)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


@functools.cache
def run_folder() -> pathlib.Path:
    """This run's folder; those of runs that died without cleaning up are swept first.

    A run holds a lock on its folder, which the kernel lets go however the run ends.
    """
    base = pathlib.Path(tempfile.gettempdir())
    if not all(path.stat().st_mode & stat.S_IXOTH for path in (base, *base.parents)):
        base = pathlib.Path("/tmp")  # root's own temporary folder, which the servers' accounts cannot enter
    root = base / f"pantograph-servers-{os.geteuid()}"
    root.mkdir(mode=0o755, exist_ok=True)
    if root.stat().st_uid != os.geteuid():
        raise RuntimeError(f"{root} belongs to somebody else")
    # One at a time: a folder that was just made and is not locked yet looks like one that was left.
    sweeping = os.open(root, os.O_RDONLY)
    fcntl.flock(sweeping, fcntl.LOCK_EX)
    for old in root.iterdir():
        try:
            held = os.open(old, os.O_RDONLY)
        except FileNotFoundError:  # its run ends at this moment, and takes it away itself
            continue
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
        os.close(held)
    mine = pathlib.Path(tempfile.mkdtemp(dir=root))
    mine.chmod(0o755)
    fcntl.flock(os.open(mine, os.O_RDONLY), fcntl.LOCK_EX)  # never closed: it is held until we are gone
    os.close(sweeping)
    owner = os.getpid()

    def clean() -> None:
        if os.getpid() == owner:  # not in a child that a test forked
            shutil.rmtree(mine, ignore_errors=True)

    atexit.register(clean)
    return mine


def folder(name: str, user: str | None) -> pathlib.Path:
    """A new folder for one server, closed to others."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=run_folder()))
    _give(path, user)
    return path


def _give(path: pathlib.Path, user: str | None) -> None:
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)


KEPT_FOR = 5 * 86400.0
"""Seconds that a server's files are kept which no run uses: of other versions, made in other ways."""


def copy_cached(key: str, make: Callable[[pathlib.Path], None], target: pathlib.Path, user: str | None) -> None:
    """Fill `target` with the data folder that `make(path)` makes, made once a `key` and kept in the cache.

    It is made where the server's own user can write and moved into the cache when complete.
    """
    template = CACHE / "servers" / key
    if not template.exists():
        template.parent.mkdir(parents=True, exist_ok=True)
        made = folder("template", user) / "data"
        make(made)
        part = template.with_name(f"{template.name}.{os.getpid()}")
        run(["cp", "-a", str(made), str(part)], None)
        with contextlib.suppress(OSError):  # another run was first: the same content
            part.rename(template)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(made.parent, ignore_errors=True)
    copy_used(template, target)


def copy_used(kept: pathlib.Path, target: pathlib.Path) -> None:
    """Copy what the cache keeps to a new path, and take away what has not been copied for long."""
    os.utime(kept)  # before the others are looked at, and before others look
    for old in kept.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run takes it away
            if old.is_dir() and time.time() - old.stat().st_mtime > KEPT_FOR:
                shutil.rmtree(old, ignore_errors=True)
    run(["cp", "-a", "--reflink=auto", str(kept), str(target)], None)


@contextlib.contextmanager
def made_once(path: pathlib.Path) -> Iterator[pathlib.Path | None]:
    """Where to make `path`, which is moved to its place when the block ends; None when it is there already.

    One process makes it, and others wait for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / f"{path.name.partition('-')[0]}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            yield None
            return
        part = path.with_name(f"{path.name}.part")
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
        yield part
        part.rename(path)
