"""A catalog in PostgreSQL: what is refused, and that no password is ever told."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput, MeshweirError, StoreBusy
from pipeline.model.messages import Partition
from pipeline.store import StoreSettings, open_store
from tests.pipeline.store.rows import spans
from tests.postgres import GUARDED, Postgres

pytest.importorskip("duckdb_extension_postgres_scanner", reason="the extra ducklake is missing")

P = Partition("otlp_spans")
PASSWORD = "it's $ecret"


def told(act: Callable[[], object]) -> tuple[MeshweirError, str]:
    """The error of an act, and all that a log would show of it."""
    with pytest.raises(MeshweirError) as raised:
        act()
    return raised.value, "".join(traceback.format_exception(raised.value))


@pytest.fixture
def guarded(postgres_server: Postgres) -> str:
    """Words for a user with a password."""
    words = postgres_server.database()
    database = words.split("dbname=")[1].split()[0]
    quoted = PASSWORD.replace("'", "''")
    if not postgres_server.psql(f"SELECT 1 FROM pg_roles WHERE rolname = '{GUARDED}'"):
        postgres_server.psql(f"CREATE ROLE {GUARDED} LOGIN SUPERUSER PASSWORD '{quoted}'")
    return f"postgres:host={postgres_server.host} dbname={database} user={GUARDED}"


def test_the_password_comes_from_its_setting_or_its_file(guarded: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    for given in ({"catalog_password": PASSWORD}, {"catalog_password_file": tmp_path / "password"}):
        settings = StoreSettings.model_validate({"catalog": guarded, **given}, strict=False)
        assert PASSWORD not in repr(settings)
        open_store(tmp_path / "data", settings).close()


@pytest.mark.parametrize("password", ["wrong $ecret", None])
def test_a_refused_password_is_not_told(
    guarded: str, tmp_path: Path, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    settings = StoreSettings.model_validate(
        {"catalog": guarded, "catalog_password": password}, strict=False
    )
    problem, log = told(lambda: open_store(tmp_path, settings))
    assert isinstance(problem, InvalidInput)
    assert "store_catalog_password" in str(problem)
    assert "$ecret" not in log


def test_words_with_a_password_are_refused_and_not_repeated(tmp_path: Path) -> None:
    settings = StoreSettings(catalog="postgres:dbname=lake password='hush'")
    problem, log = told(lambda: open_store(tmp_path, settings))
    assert "store_catalog_password" in str(problem)
    assert "hush" not in log


def test_only_postgres_is_a_catalog_elsewhere() -> None:
    with pytest.raises(ValueError, match="postgres: and libpq's words"):
        StoreSettings(catalog="mysql:host=there")


def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    settings = StoreSettings(catalog=f"postgres:host={tmp_path} dbname=lake")
    problem, _ = told(lambda: open_store(tmp_path / "data", settings))
    assert isinstance(problem, StoreBusy)
    assert "does not answer" in str(problem)
    assert "start PostgreSQL" in str(problem)


def test_a_database_that_is_not_there_is_named(postgres_server: Postgres, tmp_path: Path) -> None:
    words = postgres_server.database()
    words = words.replace(f"dbname={words.split('dbname=')[1].split()[0]}", "dbname=nowhere")
    problem, _ = told(lambda: open_store(tmp_path, StoreSettings(catalog=words)))
    assert isinstance(problem, InvalidInput)
    assert 'database "nowhere" does not exist' in str(problem)


def test_a_session_that_the_server_ends_is_made_anew(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    words = postgres_server.database()
    store = open_store(tmp_path, StoreSettings(catalog=words, threads=1))
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'"
    end = ended.format(words.split("dbname=")[1].split()[0]) + " AND application_name = 'meshweir'"

    def cut_off() -> None:
        with store._database.transaction() as session:
            session.rows("SELECT * FROM counters")
            assert int(postgres_server.psql(end)) >= 1
            session.rows("SELECT * FROM slices")

    with pytest.raises(StoreBusy, match="does not answer"):
        cut_off()
    store.write({"spans": spans([1])}, expected={}, positions={P: 1})
    assert store.positions() == {P: 1}
    store.close()
