"""A real PostgreSQL for tests and benchmarks: Debian's programs, a directory of its own, a socket.

A server refuses to run as root, so root starts it as the user postgres, whom the package makes.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = Path("/usr/lib/postgresql")
QUICK = ("-c", "fsync=off", "-c", "listen_addresses=")
"""A test's server need not survive the machine; it listens on its socket alone."""

GUARDED = "guarded"
"""A user who needs a password; all others are trusted."""

_names = itertools.count()


class Postgres:
    """A server that runs; ``host`` is the directory of its socket."""

    def __init__(self, home: Path, programs: Path) -> None:
        self.host = home
        self._programs = programs

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the server's owner; returns what it printed."""
        return _run(
            [self._programs / "psql", "-h", self.host, "-d", database, "-XAtc", statement]
        ).strip()

    def database(self) -> str:
        """Make an empty database; returns the words that connect to it."""
        name = f"lake{next(_names)}"
        self.psql(f"CREATE DATABASE {name}")
        return f"postgres:host={self.host} dbname={name} user={_owner().pw_name}"


def missing() -> str | None:
    """Why no server can be started here; None when one can."""
    if _programs() is None:
        return f"no PostgreSQL in {PROGRAMS} (Debian package postgresql)"
    try:
        _owner()
    except KeyError:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextlib.contextmanager
def running(options: tuple[str, ...] = QUICK) -> Iterator[Postgres]:
    """Start a server, and stop it in the end. The path of its socket must be short."""
    programs = _programs()
    assert programs is not None, missing()
    home = Path(tempfile.mkdtemp(prefix="pg"))
    shutil.chown(home, _owner().pw_uid, _owner().pw_gid)
    cluster = home / "cluster"
    try:
        _run([programs / "initdb", "-D", cluster, "-A", "trust", "-N", "-E", "UTF8"])
        rules = f"local all {GUARDED} scram-sha-256\nlocal all all trust\n"
        (cluster / "pg_hba.conf").write_text(rules)
        words = " ".join(["-k", str(home), *options])
        start = ["-l", home / "log", "-w", "-t", "60", "-o", words, "start"]
        _run([programs / "pg_ctl", "-D", cluster, *start])
        try:
            yield Postgres(home, programs)
        finally:
            _run([programs / "pg_ctl", "-D", cluster, "-m", "immediate", "-t", "60", "stop"])
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _programs() -> Path | None:
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _owner() -> pwd.struct_passwd:
    return pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("postgres")


def _run(command: list[object]) -> str:
    owner = _owner()
    who = {"user": owner.pw_uid, "group": owner.pw_gid} if os.getuid() == 0 else {}
    done = subprocess.run(
        [str(word) for word in command],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=90,
        cwd="/",
        **who,
    )
    return done.stdout
