"""What a process does, and so which parts it needs; each role is a command."""

from dataclasses import dataclass
from typing import Final

from api.settings import Settings
from pipeline.errors import InvalidInput

HEALTH_SETTINGS: Final = ("api_address", "api_token_file", "api_drain_seconds")
"""Settings of the HTTP interface of a process that answers no questions."""

HIDDEN: Final = (
    "intake_masked_keys", "intake_personal_data", "intake_personal_fields",
    "intake_pseudonym_key", "intake_pseudonym_key_file",
)  # fmt: skip
"""What is hidden in what receivers take, and in what a worker finds that others wrote to Kafka."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a process does.

    Attributes:
        name: the command that starts it.
        summary: what it does, in one sentence.
        receives: takes telemetry from senders to the bus.
        works: brings what is on the bus into the store, and analyses it.
        answers: answers questions over HTTP.
        api_address: where its HTTP interface listens unless told otherwise.
    """

    name: str
    summary: str
    receives: bool = False
    works: bool = False
    answers: bool = False
    api_address: str

    @property
    def stores(self) -> bool:
        """Whether it needs the store."""
        return self.works or self.answers

    @property
    def shares(self) -> bool:
        """Whether other processes do the rest, so that bus and store must be shared with them."""
        return not (self.receives and self.works and self.answers)

    @property
    def settings(self) -> tuple[str, ...]:
        """Sections of settings that concern it, and keys of single ones."""
        return (
            *(["data"] if self.stores else []),
            "log_level",
            *(["api"] if self.answers else HEALTH_SETTINGS),
            *(["collectors"] if self.receives else []),
            *([] if self.shares else ["bus"]),
            "kafka",
            *(["ingest", "analysis", *HIDDEN] if self.works else []),
            *(["store"] if self.stores else []),
            *(["identity"] if self.answers else []),
        )

    def carries(self, settings: Settings) -> bool:
        """Whether it has a bus."""
        return self.receives or self.works or bool(settings.kafka.bootstrap_servers)

    def check(self, settings: Settings) -> None:
        """Raise InvalidInput where the settings are not enough for the role."""
        if self.shares and (self.receives or self.works) and not settings.kafka.bootstrap_servers:
            raise InvalidInput(
                "--kafka",
                found="",
                allowed="HOST:PORT[,...] of Kafka, which carries telemetry from meshweir collect "
                "to meshweir process; without Kafka run everything in one process: meshweir up",
            )
        settings.api.bearer_token()


UP: Final = Role(
    name="up",
    summary="Run everything in one process: receivers, store, analysis and HTTP API.",
    receives=True,
    works=True,
    answers=True,
    api_address="127.0.0.1:8080",
)
COLLECT: Final = Role(
    name="collect",
    summary="Run the receivers alone: they take telemetry to Kafka.",
    receives=True,
    api_address="127.0.0.1:8081",
)
PROCESS: Final = Role(
    name="process",
    summary="Run a worker: it brings telemetry from Kafka into the store and analyses it.",
    works=True,
    api_address="127.0.0.1:8082",
)
SERVE: Final = Role(
    name="serve",
    summary="Run the HTTP API alone, on the store that meshweir process fills.",
    answers=True,
    api_address="127.0.0.1:8080",
)
ROLES: Final = (UP, COLLECT, PROCESS, SERVE)
"""Every role, in the order of ``--help``."""
