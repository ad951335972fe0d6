"""`pantograph demo` shows the whole thing at work, by itself, and leaves what it promises."""

import os
import pathlib
import pty
import re
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.command.conftest import environment, wait_for


def test_it_ends_by_itself_and_shop_and_copy_are_equal(call, tmp_path):
    ended = call("demo", "--seconds", "3")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "shop and copy are equal" in ended.stdout
    assert "\x1b" not in ended.stdout  # no colour and no drawing without a terminal
    folder = tmp_path / "pantograph-demo"
    assert {"shop.db", "copy.db", "manifests.yaml"} <= {path.name for path in folder.iterdir()}
    copy = sqlite3.connect(folder / "copy.db")
    assert copy.execute("select count(*) from orders").fetchone()[0] > 2900
    copy.close()


def test_what_it_says_to_try_next_works_as_printed(call, tmp_path):
    shown = call("demo", "--seconds", "1", "a folder")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    steps = re.findall(r"^  pantograph (\w+) (.*?)   ", shown.stdout, re.MULTILINE)
    assert [name for name, _ in steps] == ["demo", "status", "run", "verify", "explain", "remove"]
    assert {rest for _, rest in steps} == {"'a folder'", "-f 'a folder'", "reflection"}
    assert call("status", "-f", "a folder").returncode == 0
    assert call("run", "-f", "a folder", "--once").returncode == 0
    assert call("verify", "-f", "a folder").returncode == 0
    assert call("explain", "reflection").returncode == 0
    assert call("remove", "-f", "a folder", "--yes").returncode == 0
    # And back again, also after everything was taken away.
    again = call("demo", "--seconds", "1", "a folder")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.startswith("Going on with a folder/shop.db")


def test_manifests_that_were_changed_are_kept_and_obeyed(call, tmp_path):
    assert call("demo", "--seconds", "1").returncode == 0
    path = tmp_path / "pantograph-demo" / "manifests.yaml"
    changed = path.read_text().replace("# where:", "where:")
    path.write_text(changed)
    again = call("demo", "--seconds", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "the two files were not compared" in again.stdout
    assert path.read_text() == changed
    assert call("run", "-f", path, "--once").returncode == 0
    copy = sqlite3.connect(tmp_path / "pantograph-demo" / "copy.db")
    assert copy.execute("select distinct status from orders").fetchall() == [("shipped",)]
    copy.close()


def test_a_folder_with_other_things_in_it_is_left_alone(call, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    ended = call("demo", "mine")
    assert ended.returncode == 1
    assert ended.stderr == "pantograph: mine is not empty and not of an earlier demo; name another folder\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_draws_until_it_is_told_to_stop(tmp_path, number):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pantograph", "demo"],
        cwd=tmp_path,
        env=environment() | {"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    drawn = bytearray()

    def shows(words: str) -> bool:
        try:
            while chunk := os.read(ours, 65536):
                drawn.extend(chunk)
        except (BlockingIOError, OSError):
            pass
        return words in drawn.decode(errors="replace")

    try:
        wait_for(lambda: shows("in the copy after"), 60, lambda: drawn.decode(errors="replace")[-2000:])
        process.send_signal(number)
        # It writes on while it ends: somebody must read, or it waits for ever.
        wait_for(lambda: shows("Try next:") and process.poll() is not None, 60)
        assert process.returncode == 0
        text = drawn.decode()
        for words in ("in the shop", "transactions a second", "from commit to visible", "latest changes", "are equal"):
            assert words in text
        assert text.rstrip().endswith("the rows of the copy stay")
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is back
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_manifests_it_leaves_are_valid_and_readable(call, tmp_path):
    assert call("demo", "--seconds", "1").returncode == 0
    text = pathlib.Path(tmp_path / "pantograph-demo" / "manifests.yaml").read_text()
    assert text.count("kind: Database\n") == 2
    assert text.count("kind: Reflection\n") == text.count("kind: SourceTable\n") == 4
    assert max(map(len, text.splitlines())) < 160
