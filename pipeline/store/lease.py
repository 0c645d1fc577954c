"""The lease of the one process that analyses, and the fence inside each of its transactions.

Analysis keeps an index of homes in memory and recomputes what it has read before, so two processes
must not do it at the same time. Who holds the lease stands in the table ``leases``. A holder that
is stalled past its lease may wake in the middle of its work. So each of its transactions changes
the row of the lease as well: it finds another holder or another term there, or it conflicts with
the transaction that took the lease. Clocks only decide how soon a lease is taken over, never
whether two processes write.

A DuckDB file belongs to one process, which always holds the lease; there the row counts changes.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable
from typing import Final, TypeVar

from pipeline.errors import StoreBusy
from pipeline.store.connection import Database, Session
from pipeline.store.settings import Backend

ANALYSIS: Final = "analysis"
"""The only lease there is."""

HELD_SECONDS: Final = 9.0
"""How long a lease holds after its holder was last heard of; it is taken over about then."""

RENEWED_SECONDS: Final = 4.5
"""A lease is renewed when it has less than this left, unless a transaction has renewed it."""

LOOK_SECONDS: Final = 1.0
"""Pause between two looks at a lease that another process holds."""

SECOND: Final = 1_000_000_000

T = TypeVar("T")


class Lease:
    """What this process knows of the lease. Any thread may ask; one at a time takes or gives."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock
        self._alone = database.backend is Backend.FILE
        self._me = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._term: int | None = None
        self._asked = False
        self._until = 0
        self._looked = -LOOK_SECONDS

    @property
    def held(self) -> bool:
        """True when this process holds the lease, as far as it knows."""
        return self._alone or self._term is not None

    def take(self) -> int | None:
        """Take or keep the lease: its term, another after each loss; None while it is elsewhere.

        Asks the store only when the lease is not held or must be renewed.
        """
        if self._alone:
            return 0
        self._asked = True
        if self._term is not None and self._until - self._clock() > RENEWED_SECONDS * SECOND:
            return self._term
        if self._term is None and not self._looks_free():
            return None
        until = self._end()
        self._term = self._database.commit(lambda session: self._taken(session, until))
        self._until = until
        return self._term

    def commit(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` in a transaction that only the holder can commit, and renew the lease in it.

        Who never asked for the lease takes it first where it is free. Who lost it must ``take`` it:
        what was read before may not hold any more.

        Raises:
            StoreBusy: another process holds the lease, or held it since.
        """
        if not self._asked:
            self.take()
        until = self._end()

        def fenced(session: Session) -> T:
            self._fence(session, until)
            return work(session)

        done = self._database.commit(fenced)
        self._until = until
        return done

    def give(self) -> None:
        """Let the next process have the lease at once."""
        if not self._alone and self._term is not None:
            self._database.commit(self._given)
            self._term = None

    def _end(self) -> int:
        return self._clock() + round(HELD_SECONDS * SECOND)

    def _looks_free(self) -> bool:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        with self._database.session() as session:
            holder, _, until = _row(session)
        return self._is_free(holder, until)

    def _is_free(self, holder: str, until: int) -> bool:
        return holder in ("", self._me) or until <= self._clock()

    def _is_mine(self, holder: str, term: int) -> bool:
        return holder == self._me and term == self._term

    def _fence(self, session: Session, until: int) -> None:
        if self._alone:
            disturb(session)
            return
        holder, term, _ = _row(session)
        if not self._is_mine(holder, term):
            self._term = None
            raise StoreBusy(f"the analysis is in other hands ({holder or 'nobody now'})")
        _write(session, self._me, term, until, changes=1)

    def _taken(self, session: Session, until: int) -> int | None:
        """The term of the lease, taken or renewed in this transaction."""
        holder, term, held_until = _row(session)
        if not self._is_mine(holder, term):
            if not self._is_free(holder, held_until):
                return None
            term += 1
        _write(session, self._me, term, until)
        return term

    def _given(self, session: Session) -> None:
        holder, term, _ = _row(session)
        if self._is_mine(holder, term):
            _write(session, "", term, 0)


def disturb(session: Session) -> None:
    """Make every transaction of the analysis that is under way fail or begin again after this."""
    session.run(_COUNT)


_HELD: Final = f"SELECT holder, term, until FROM leases WHERE name = '{ANALYSIS}'"  # noqa: S608
_COUNT: Final = f"UPDATE leases SET changes = changes + 1 WHERE name = '{ANALYSIS}'"  # noqa: S608
_WRITE: Final = (
    "UPDATE leases SET holder = $holder, term = $term, until = $until, changes = changes + $changes"  # noqa: S608
    f" WHERE name = '{ANALYSIS}'"
)


def _row(session: Session) -> tuple[str, int, int]:
    ((holder, term, until),) = session.rows(_HELD)
    return holder, term, until


def _write(session: Session, holder: str, term: int, until: int, *, changes: int = 0) -> None:
    row = {"holder": holder, "term": term, "until": until, "changes": changes}
    session.run(_WRITE, row)
