"""The key of pseudonyms: given, or made once, and readable by nobody else."""

import logging
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.pseudonyms import KEY_FILE, of_role, with_key
from api.role import COLLECT, PROCESS, SERVE, UP
from api.settings import load
from collectors.redaction import redaction
from pipeline.errors import InvalidInput
from pipeline.model.personal_fields import PersonalData


def settings(tmp_path, **environment):
    given = {f"MESHWEIR_{name.upper()}": str(value) for name, value in environment.items()}
    return load(flags={"data": str(tmp_path / "data")}, environment=given)


def key_of(found):
    key = found.collectors.intake.pseudonym_key
    return None if key is None else key.get_secret_value()


def test_a_key_is_made_once_in_the_data_directory(tmp_path):
    made = with_key(settings(tmp_path))
    file = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key_of(made) == file.read_text().strip()
    assert len(key_of(made)) == 64
    assert key_of(with_key(settings(tmp_path))) == key_of(made)
    assert [one.name for one in file.parent.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_have_one_key(tmp_path):
    given = settings(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: key_of(with_key(given)), range(16)))
    assert len(set(made)) == 1


def test_a_key_that_is_given_holds_and_no_file_is_made(tmp_path):
    given = settings(tmp_path, intake_pseudonym_key="0123456789abcdef")
    assert key_of(with_key(given)) == "0123456789abcdef"
    assert not (tmp_path / "data").exists()
    file = tmp_path / "key"
    file.write_text("fedcba9876543210\n")
    assert key_of(with_key(settings(tmp_path, intake_pseudonym_key_file=file))) == (
        "fedcba9876543210"
    )


def test_the_same_key_gives_the_same_pseudonyms_in_every_process(tmp_path):
    given = with_key(settings(tmp_path)).collectors.intake
    again = with_key(settings(tmp_path)).collectors.intake
    assert redaction(given).persons.pseudonym("bob") == redaction(again).persons.pseudonym("bob")


@pytest.mark.parametrize(
    "environment",
    [
        {"intake_pseudonym_key": "short"},
        {"intake_pseudonym_key_file": "/nonexistent/key"},
        {"intake_pseudonym_key": "0123456789abcdef", "intake_pseudonym_key_file": "/x"},
    ],
)
def test_a_key_that_cannot_be_used_is_refused(tmp_path, environment):
    with pytest.raises(InvalidInput) as told:
        with_key(settings(tmp_path, **environment))
    assert "intake_pseudonym_key" in str(told.value)


def test_no_key_is_made_where_none_is_needed(tmp_path):
    for how in (PersonalData.DROP, PersonalData.KEEP):
        assert key_of(with_key(settings(tmp_path, intake_personal_data=how.value))) is None
    assert key_of(of_role(settings(tmp_path), SERVE)) is None
    assert not (tmp_path / "data").exists()


def test_a_collector_without_data_directory_says_that_its_pseudonyms_are_its_own(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert key_of(of_role(settings(tmp_path), COLLECT)) is None
    assert "intake_pseudonym_key" in caplog.text
    given = settings(tmp_path, intake_pseudonym_key="0123456789abcdef")
    caplog.clear()
    assert key_of(of_role(given, COLLECT)) == "0123456789abcdef"
    assert not caplog.text


@pytest.mark.parametrize("role", [UP, PROCESS])
def test_processes_that_write_the_store_share_the_key_of_its_directory(tmp_path, role):
    assert key_of(of_role(settings(tmp_path), role)) == key_of(with_key(settings(tmp_path)))
