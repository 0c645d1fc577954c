"""The image without a container engine: what its Dockerfile says, and where its containers run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.deploy.compose import ROOT

NOBODY: Final = 65534

_CONTAINER: Final = """\
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$WRITABLE"
mkdir -m 1777 "$WRITABLE/tmp" "$WRITABLE/data"
mount -o remount,bind,ro /
exec setpriv --reuid "$RUN_AS" --regid "$RUN_AS" --clear-groups --no-new-privs \\
    --inh-caps=-all --bounding-set=-all "$@"
"""
"""Runs a program as a container of docker-compose.yml does: nothing but a tmpfs can be written to,
no capability is left, and the user owns nothing."""


def instructions(word: str) -> list[str]:
    """What follows each instruction of the Dockerfile that begins with a word."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [" ".join(line.split()[1:]) for line in text.splitlines() if line.split()[:1] == [word]]


def variables() -> dict[str, str]:
    """The environment of the last stage, but for its PATH, with our places for the image's."""
    found = dict(pair.split("=", 1) for pair in instructions("ENV")[-1].split())
    del found["PATH"]
    return found


def why_not() -> str | None:
    """Why no program can be run like in a container here; None when one can."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv"))):
        return "a file system that cannot be written to needs root, unshare and setpriv"
    trial = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount --make-rprivate / && mount -o remount,bind,ro /"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return trial.stderr.strip() or None


@contextmanager
def container(
    command: Sequence[str | Path], environment: Mapping[str, str], writable: Path
) -> Iterator[subprocess.Popen[str]]:
    """A program in a container of ours; ended when the block ends.

    Args:
        command: the program and its arguments.
        environment: all that it sees of the environment.
        writable: an empty directory, under which ``tmp`` and ``data`` alone can be written to.
    """
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _CONTAINER, "container", *command],
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "WRITABLE": str(writable),
            "TMPDIR": str(writable / "tmp"),
            "RUN_AS": str(_user()),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _user() -> int:
    """Nobody, or root without its capabilities where only root gets at this interpreter."""
    real = Path(sys.executable).resolve()
    reachable = all(path.stat().st_mode & 0o001 for path in (real, *real.parents, *_packages()))
    return NOBODY if reachable else 0


def _packages() -> list[Path]:
    place = Path(sys.prefix)
    return [place, *place.parents]
