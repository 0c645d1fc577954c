"""The topics in Kafka: made as the settings say, or refused when they are otherwise."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from pipeline.bus.settings import KIB, KafkaSettings
from pipeline.errors import BusUnavailable, InvalidInput
from pipeline.model.topics import TELEMETRY_DLQ

log = logging.getLogger(__name__)

HEADERS_BYTES: Final = 4 * KIB
"""Room in a message for its headers and what Kafka writes around it."""

MOST_COPIES: Final = 3

_LOOKS: Final = 100
_LOOK_SECONDS: Final = 0.1


class Topics:
    """The topics of one installation: names, partitions, settings.

    Args:
        settings: what the topics shall be like.
        names: the topics as Meshweir calls them, ``telemetry_dlq`` among them or not.
    """

    def __init__(self, settings: KafkaSettings, names: Sequence[str]) -> None:
        self._settings = settings
        self._names = tuple(dict.fromkeys((*names, TELEMETRY_DLQ)))
        self._read = tuple(names)
        self.partitions: dict[str, tuple[int, ...]] = {}
        self._limits = {name: self._wanted(name)["max.message.bytes"] for name in self._names}

    def real(self, name: str) -> str:
        """What Kafka calls a topic of ours."""
        return self._settings.topic_prefix + name

    def ours(self, real: str) -> str:
        """What we call a topic of Kafka."""
        return real.removeprefix(self._settings.topic_prefix)

    def limit(self, name: str) -> int:
        """Bytes that a message may have, headers included; compression can make it this large."""
        whole = int(self._limits[name])
        # bytes that cannot be compressed grow by a 256th at most with any of the codecs
        return whole - whole // 256 - HEADERS_BYTES // 4

    @property
    def max_message_bytes(self) -> int:
        """Bytes that the value of a message may have on any topic."""
        return min(map(self.limit, self._read)) - HEADERS_BYTES * 3 // 4

    async def ensure(self, admin: AIOKafkaAdminClient) -> None:
        """Make the topics that are missing, and learn or refuse those that exist.

        Raises:
            InvalidInput: a topic is other than wanted, or the cluster refuses to make one.
            BusUnavailable: a topic cannot be seen.
            KafkaError: the cluster did not answer.
        """
        # all topics are asked for: some brokers would make those that are asked for by name
        before = await self._found(admin, None)
        missing = [name for name in self._names if name not in before]
        if missing:
            await self._create(admin, missing)
        await self._wait_until_seen(admin)
        try:
            found = await self._configurations(admin)
        except TopicAuthorizationFailedError:
            if self._settings.topics == "create":
                raise
            log.warning("this user may not see the topics' settings: their limits are taken to be "
                        "kafka_max_message_bytes")  # fmt: skip
            return
        if self._settings.topics == "create":
            for name in self._names:
                # another process of other settings may have been faster: new ones are looked at too
                self._check(name, len(self.partitions[name]), found[name])
        self._limits = {name: found[name]["max.message.bytes"] for name in self._names}

    async def refresh(self, admin: AIOKafkaAdminClient) -> None:
        """Learn which partitions there are; raises BusUnavailable when a topic cannot be seen."""
        found = await self._found(admin, [self.real(name) for name in self._names])
        for name in self._names:
            if name not in found:
                raise BusUnavailable(
                    f"Kafka topic {self.real(name)} cannot be seen: it was deleted (start again "
                    "to have it made), or this user may not describe it"
                )
        self.partitions |= found

    async def _wait_until_seen(self, admin: AIOKafkaAdminClient) -> None:
        """Brokers learn of a new topic a moment after it was made."""
        for _ in range(_LOOKS):
            try:
                return await self.refresh(admin)
            except BusUnavailable:
                await asyncio.sleep(_LOOK_SECONDS)
        return await self.refresh(admin)

    async def _found(
        self, admin: AIOKafkaAdminClient, names: list[str] | None
    ) -> dict[str, tuple[int, ...]]:
        ours = {self.real(name): name for name in self._names}
        return {
            ours[topic["topic"]]: tuple(sorted(part["partition"] for part in parts))
            for topic in await admin.describe_topics(names)
            if topic["topic"] in ours and (parts := topic["partitions"])
        }

    async def _create(self, admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
        settings = self._settings
        brokers = (await admin.describe_cluster())["brokers"]
        copies = settings.replication_factor or min(MOST_COPIES, len(brokers))
        answer = await admin.create_topics(
            [
                NewTopic(
                    self.real(name), settings.partitions, copies, topic_configs=self._wanted(name)
                )
                for name in names
            ]
        )
        errors = answer.topic_errors  # type: ignore[attr-defined]  # a field of the protocol
        for real, code, reason in errors:
            problem = for_code(code)
            if code and problem is not TopicAlreadyExistsError:  # another process was faster
                raise InvalidInput(
                    f"Kafka topic {real}",
                    found=f"{settings.partitions} partitions, {copies} copies",
                    allowed=f"what the cluster takes: {reason or problem.__name__}",
                )
        log.info("made the topics %s", ", ".join(map(self.real, names)))

    async def _configurations(self, admin: AIOKafkaAdminClient) -> dict[str, dict[str, str]]:
        wanted = [
            ConfigResource(
                ConfigResourceType.TOPIC,
                self.real(name),
                configs=dict.fromkeys(self._wanted(name), ""),
            )
            for name in self._names
        ]
        found: dict[str, dict[str, str]] = {}
        for answer in await admin.describe_configs(wanted):
            resources = answer.resources  # type: ignore[attr-defined]  # a field of the protocol
            for code, reason, _, real, entries in resources:
                if code:
                    raise for_code(code)(f"settings of topic {real}: {reason}")
                found[self.ours(real)] = {entry[0]: entry[1] for entry in entries}
        return found

    def _wanted(self, name: str) -> dict[str, str]:
        settings = self._settings
        # what is set aside has the headers it came with, and those that say why
        more = 16 * HEADERS_BYTES if name == TELEMETRY_DLQ else 0
        return {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "max.message.bytes": str(settings.max_message_bytes + more),
            # time of arrival at the broker: retention and replay follow one clock
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(settings.retention_seconds * 1000),
        }

    def _check(self, name: str, partitions: int, found: Mapping[str, str]) -> None:
        if partitions != self._settings.partitions:
            raise self._refusal(name, "partitions", partitions, self._settings.partitions)
        for setting, wanted in self._wanted(name).items():
            if found[setting] != wanted:
                raise self._refusal(name, setting, found[setting], wanted)

    def _refusal(self, name: str, setting: str, found: object, wanted: object) -> InvalidInput:
        return InvalidInput(
            f"Kafka topic {self.real(name)}, {setting}",
            found=found,
            allowed=f"{wanted}, as Meshweir's settings say; change the topic or the settings, "
            "or take it as it is with kafka_topics: accept",
        )
