"""What a process does, and which settings concern it."""

import pytest

from api.role import COLLECT, PROCESS, ROLES, SERVE, UP
from api.settings import Settings, load
from pipeline.errors import InvalidInput

KAFKA = load(flags={"kafka": "one:9092"}, environment={})


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_with_kafka_every_role_is_possible(role):
    role.check(KAFKA)


@pytest.mark.parametrize("role", [COLLECT, PROCESS], ids=lambda role: role.name)
def test_without_kafka_receivers_and_worker_cannot_be_apart(role):
    with pytest.raises(InvalidInput, match="meshweir up"):
        role.check(Settings())


@pytest.mark.parametrize("role", [UP, SERVE], ids=lambda role: role.name)
def test_without_kafka_there_is_all_in_one_and_the_api_alone(role):
    role.check(Settings())


def test_only_everything_in_one_process_shares_nothing():
    assert [role.name for role in ROLES if not role.shares] == ["up"]
    assert [role.name for role in ROLES if not role.stores] == ["collect"]


def test_all_may_run_on_one_machine_beside_each_other():
    addresses = [role.api_address for role in (COLLECT, PROCESS, SERVE)]
    assert len(set(addresses)) == 3


def test_a_token_that_cannot_be_read_is_wrong_usage(tmp_path):
    settings = load(flags={"api_token_file": str(tmp_path / "none")}, environment={})
    with pytest.raises(InvalidInput, match="api_token_file"):
        SERVE.check(settings)
