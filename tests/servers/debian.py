"""What is taken from Debian's mirror beside what is installed on this machine."""

from __future__ import annotations

import subprocess


def mirror() -> list[str]:
    """The mirror that this machine's apt uses; debootstrap's own choice when it cannot be told."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.split()[:1]
