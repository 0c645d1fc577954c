"""What a broker of one node is configured with: its listeners, and how clients log in on each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from api.demo.certificates import Identity

CONTROLLER: Final = "CONTROLLER"
"""The listener on which the node speaks to itself."""

KEYSTORE: Final = "keystore.pem"
"""The file in the broker's directory with its key and certificates: Kafka takes both from one."""

SCRAM_MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")

_SINGLE_NODE: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": CONTROLLER,
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    # a broker that was killed waits for the end of its own old session before it serves again
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "1000",
}


@dataclass(frozen=True, slots=True)
class Security:
    """Which listeners there are beside the plain one.

    ``SSL`` with an identity, ``SASL_PLAINTEXT`` with users, ``SASL_SSL`` with both.

    Attributes:
        identity: certificate, key and authority of the broker; client certificates are checked
            against the same authority when a client shows one.
        users: passwords by name, for PLAIN and both SCRAM mechanisms.
    """

    identity: Identity | None = None
    users: Mapping[str, str] = field(default_factory=dict)

    @property
    def listeners(self) -> tuple[str, ...]:
        """Names of the listeners, which are those of their protocols."""
        found = ["PLAINTEXT"]
        found += ["SSL"] * bool(self.identity)
        found += ["SASL_PLAINTEXT"] * bool(self.users)
        found += ["SASL_SSL"] * bool(self.identity and self.users)
        return tuple(found)


def server_properties(
    security: Security, directory: Path, addresses: Mapping[str, str]
) -> dict[str, str]:
    """The properties of a broker.

    Args:
        security: its listeners.
        directory: where its data lies, and its ``KEYSTORE`` where it has an identity.
        addresses: ``host:port`` of each listener and of the controller.
    """
    served = security.listeners
    urls = {name: f"{name}://{address}" for name, address in addresses.items()}
    return (
        _SINGLE_NODE
        | {
            "controller.quorum.voters": f"1@{addresses[CONTROLLER]}",
            "listeners": ",".join(urls[name] for name in (*served, CONTROLLER)),
            "advertised.listeners": ",".join(urls[name] for name in served),
            "listener.security.protocol.map": ",".join(
                (f"{CONTROLLER}:PLAINTEXT", *(f"{name}:{name}" for name in served))
            ),
            "log.dirs": str(directory / "data"),
        }
        | _tls_properties(security, directory)
        | _sasl_properties(security)
    )


def _tls_properties(security: Security, directory: Path) -> dict[str, str]:
    if security.identity is None:
        return {}
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(directory / KEYSTORE),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.identity.authority),
        "ssl.client.auth": "requested",
    }


def _sasl_properties(security: Security) -> dict[str, str]:
    users = security.users
    if not users:
        return {}
    package = "org.apache.kafka.common.security"
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    found = {"sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM_MECHANISMS))}
    for name in security.listeners:
        if name.startswith("SASL"):
            prefix = f"listener.name.{name.lower()}"
            found[f"{prefix}.plain.sasl.jaas.config"] = (
                f"{package}.plain.PlainLoginModule required {known};"
            )
            for mechanism in SCRAM_MECHANISMS:
                found[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = (
                    f"{package}.scram.ScramLoginModule required;"
                )
    return found
