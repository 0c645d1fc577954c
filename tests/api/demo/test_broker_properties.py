"""What a broker is configured with: which listeners it has, and what each asks of clients."""

from pathlib import Path

import pytest

from api.demo.broker_properties import CONTROLLER, KEYSTORE, Security, server_properties
from api.demo.certificates import Identity

IDENTITY = Identity(Path("/b.pem"), Path("/b.key"), Path("/authority.pem"))
USERS = {"alice": "secret"}


def properties(security: Security) -> dict[str, str]:
    names = (*security.listeners, CONTROLLER)
    addresses = {name: f"127.0.0.1:{port}" for port, name in enumerate(names, start=1)}
    return server_properties(security, Path("/data"), addresses)


@pytest.mark.parametrize(
    ("security", "listeners"),
    [
        (Security(), ["PLAINTEXT"]),
        (Security(IDENTITY), ["PLAINTEXT", "SSL"]),
        (Security(users=USERS), ["PLAINTEXT", "SASL_PLAINTEXT"]),
        (Security(IDENTITY, USERS), ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    ],
)
def test_every_listener_but_the_controller_is_told_to_clients(
    security: Security, listeners: list[str]
) -> None:
    told = properties(security)
    advertised = told["advertised.listeners"].split(",")
    assert [url.partition("://")[0] for url in advertised] == listeners
    assert told["listeners"].split(",") == [*advertised, f"CONTROLLER://{told_controller(told)}"]
    protocols = dict(pair.split(":") for pair in told["listener.security.protocol.map"].split(","))
    assert protocols == {CONTROLLER: "PLAINTEXT", **{name: name for name in listeners}}


def told_controller(told: dict[str, str]) -> str:
    return told["controller.quorum.voters"].removeprefix("1@")


def test_an_identity_is_taken_from_the_keystore_and_clients_are_checked_by_its_authority() -> None:
    told = properties(Security(IDENTITY))
    assert told["ssl.keystore.location"] == str(Path("/data") / KEYSTORE)
    assert told["ssl.truststore.location"] == "/authority.pem"


def test_only_listeners_with_a_login_know_the_users() -> None:
    told = properties(Security(IDENTITY, USERS))
    knowing = {key for key, value in told.items() if "secret" in value}
    assert knowing == {
        "listener.name.sasl_plaintext.plain.sasl.jaas.config",
        "listener.name.sasl_ssl.plain.sasl.jaas.config",
    }
    assert told["sasl.enabled.mechanisms"] == "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
