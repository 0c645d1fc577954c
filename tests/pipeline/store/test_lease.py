"""One analyser at a time: the lease, and the fence in each transaction of its holder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import StoreBusy
from pipeline.store import Backend, StoreSettings, schema
from pipeline.store.connection import Session, connect
from pipeline.store.lease import HELD_SECONDS, Lease
from tests.pipeline.store.lakes import LAKES, lake_settings

SECOND = 1_000_000_000


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        """The time now, Unix nanoseconds."""
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * SECOND)


@pytest.fixture(params=LAKES)
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    return lake_settings(request)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("pipeline.store.lease.LOOK_SECONDS", 0.0)
    return Clock()


@pytest.fixture
def leases(tmp_path: Path, settings: StoreSettings, clock: Clock) -> Iterator[tuple[Lease, Lease]]:
    """Two processes' views of one lease."""
    databases = [connect(tmp_path, settings) for _ in range(2)]
    schema.migrate(databases[0])
    for database in databases:
        # what is proved here must hold without the lock that only saves work
        database._courtesy.close()
        database._courtesy = None
    one, two = (Lease(database, clock) for database in databases)
    yield one, two
    for database in databases:
        database.close()


def mark(session: Session) -> None:
    session.run("INSERT INTO units VALUES (1, 1)")


def marks(lease: Lease) -> int:
    with lease._database.session() as session:
        return session.rows("SELECT count(*) FROM units")[0][0]


def test_one_holds_the_lease_until_it_ends(leases: tuple[Lease, Lease], clock: Clock) -> None:
    one, two = leases
    assert one.take() == 1
    assert two.take() is None
    assert (one.held, two.held) == (True, False)
    clock.pass_by(HELD_SECONDS - 1)
    assert two.take() is None
    clock.pass_by(1)
    assert two.take() == 2
    assert one.take() is None


def test_asking_again_keeps_the_lease(leases: tuple[Lease, Lease], clock: Clock) -> None:
    one, two = leases
    for _ in range(5):
        assert one.take() == 1
        clock.pass_by(HELD_SECONDS - 1)
        assert two.take() is None


def test_a_transaction_renews_the_lease(leases: tuple[Lease, Lease], clock: Clock) -> None:
    one, two = leases
    for _ in range(3):
        one.commit(mark)
        clock.pass_by(HELD_SECONDS - 1)
    assert two.take() is None
    assert marks(two) == 3


def test_giving_it_back_lets_the_next_have_it_at_once(leases: tuple[Lease, Lease]) -> None:
    one, two = leases
    assert one.take() == 1
    one.give()
    assert not one.held
    assert two.take() == 2


def test_who_does_not_hold_the_lease_commits_nothing(leases: tuple[Lease, Lease]) -> None:
    one, two = leases
    one.take()
    with pytest.raises(StoreBusy, match="in other hands"):
        two.commit(mark)
    assert marks(one) == 0


def test_a_former_holder_commits_nothing(leases: tuple[Lease, Lease], clock: Clock) -> None:
    one, two = leases
    one.commit(mark)
    clock.pass_by(HELD_SECONDS + 1)
    two.take()
    for _ in range(2):
        with pytest.raises(StoreBusy, match="in other hands"):
            one.commit(mark)
    two.give()
    # the lease is free, but what this one had read may not hold any more: it must ask first
    with pytest.raises(StoreBusy, match="nobody now"):
        one.commit(mark)
    assert marks(two) == 1
    assert one.take() == 3
    one.commit(mark)
    assert marks(two) == 2


def test_a_holder_overtaken_within_its_transaction_commits_nothing(
    leases: tuple[Lease, Lease], clock: Clock
) -> None:
    """It passed the fence and was stalled; the lease is taken before it comes to its commit."""
    one, two = leases
    one.take()

    def stalled(session: Session) -> None:
        mark(session)
        clock.pass_by(HELD_SECONDS + 1)
        two.take()

    with pytest.raises(StoreBusy, match="in other hands"):
        one.commit(stalled)
    assert marks(two) == 0
    two.commit(mark)
    assert marks(one) == 1


def test_a_file_is_always_led_and_its_changes_are_counted(tmp_path: Path, clock: Clock) -> None:
    database = connect(tmp_path, StoreSettings(backend=Backend.FILE))
    schema.migrate(database)
    lease = Lease(database, clock)
    assert lease.held
    assert [lease.take(), lease.take()] == [0, 0]
    lease.commit(mark)
    lease.commit(mark)
    lease.give()
    with database.session() as session:
        assert session.rows("SELECT holder, changes FROM leases") == [("", 2)]
    database.close()
