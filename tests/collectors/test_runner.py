"""Starting all receivers or none, and settings that are refused at start."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from collectors.listen import Guard
from collectors.room import NoRoom, Room
from collectors.runner import Collectors
from collectors.settings import CollectorSettings
from pipeline.bus.embedded import EmbeddedBus
from pipeline.errors import InvalidInput
from pipeline.model.ledger import Ledger

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def collectors(directory: Path, **sections: dict[str, object]) -> Collectors:
    return Collectors(CollectorSettings.model_validate(sections), EmbeddedBus(directory), Ledger())


async def test_when_one_cannot_start_none_stays(tmp_path: Path) -> None:
    first = collectors(
        tmp_path, otlp_grpc={"address": "127.0.0.1:0"}, otlp_http={"address": "192.0.2.1:0"}
    )
    with pytest.raises(InvalidInput, match="MESHWEIR_INTAKE_TOKEN"):
        await first.start()
    host, port = first.addresses["otlp_grpc"].split(":")
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(host, int(port))


async def test_a_receiver_without_address_is_off(tmp_path: Path) -> None:
    only_http = collectors(
        tmp_path, otlp_grpc={"address": None}, otlp_http={"address": "127.0.0.1:0"}
    )
    await only_http.start()
    assert list(only_http.addresses) == ["otlp_http"]
    await only_http.stop()
    await only_http.stop()


async def test_all_receivers_can_be_started_again(tmp_path: Path) -> None:
    again = collectors(
        tmp_path, otlp_grpc={"address": "127.0.0.1:0"}, otlp_http={"address": "127.0.0.1:0"}
    )
    for _ in range(2):
        await again.start()
        await again.stop()


@pytest.mark.parametrize(
    "wrong",
    [
        {"otlp_htp": {}},
        {"otlp_http": {"adress": "127.0.0.1:0"}},
        {"otlp_http": {"max_body_bytes": -1}},
        {"otlp_grpc": {"drain_seconds": 0}},
        {"intake": {"max_in_flight_bytes": "much"}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CollectorSettings.model_validate(wrong)


def test_every_setting_says_what_it_is() -> None:
    for name, section in CollectorSettings.model_fields.items():
        for field in section.annotation.model_fields.values():  # type: ignore[union-attr]
            assert field.description, name


def test_the_token_is_never_shown() -> None:
    settings = CollectorSettings.model_validate({"intake": {"token": "s3cret"}})
    assert "s3cret" not in repr(settings)


def test_a_guard_without_token_admits_everybody_and_with_one_its_bearer() -> None:
    assert Guard(None).admits(b"")
    guard = Guard(CollectorSettings.model_validate({"intake": {"token": "é"}}).intake.token)
    assert guard.admits("Bearer é".encode())
    assert not guard.admits(b"Bearer e")
    assert guard.check_address("0.0.0.0:0", field="x") == ("0.0.0.0", 0)


def test_room_is_given_back_and_one_request_always_fits() -> None:
    room = Room(100, retry_after=3)
    with room.claim() as large:
        large.grow(90)
        large.grow(90)
        with pytest.raises(NoRoom) as refused, room.claim() as small:
            small.grow(1)
        assert refused.value.retry_after == 3
    assert room.used == 0
