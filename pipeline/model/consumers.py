"""Who consumes an API, named alike whatever system tells it: a kind, a colon, an id.

``app:mobile`` is an application, ``key:k7xq`` an API key (its id, never the key). Of kinds that are
persons the id is ``person-`` and a hash. On the graph the node is ``consumer:app:mobile``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ConsumerKind(StrEnum):
    """What the id of a consumer is the id of."""

    APP = "app"
    USER = "user"
    KEY = "key"
    DEVELOPER = "developer"
    SUBJECT = "subject"
    PRINCIPAL = "principal"


PERSONS: Final = (ConsumerKind.DEVELOPER, ConsumerKind.SUBJECT, ConsumerKind.PRINCIPAL)
"""Kinds whose ids are always hashed; of others those that are e-mail addresses are."""

Rule = tuple[tuple[ConsumerKind, tuple[str, ...]], ...]
"""Fields that may tell the consumer, best first; of those that are told the first counts."""

CONSUMER_RULES: Final[Mapping[str, Rule]] = {
    "kong": (
        (ConsumerKind.USER, ("consumer_username", "consumer_custom_id", "consumer_id")),
        (ConsumerKind.KEY, ("credential_id",)),
    ),
    "aws": (
        (ConsumerKind.KEY, ("api_key_id",)),
        (ConsumerKind.SUBJECT, ("subject",)),
        (ConsumerKind.PRINCIPAL, ("principal", "user_arn")),
    ),
    "apigee": (
        (ConsumerKind.APP, ("app",)),
        (ConsumerKind.DEVELOPER, ("developer",)),
    ),
    "otel": (
        (
            ConsumerKind.USER,
            (
                "kong.auth.consumer.username", "kong.auth.consumer.custom_id",
                "kong.auth.consumer.id", "kong.consumer",
            ),
        ),
        (ConsumerKind.KEY, ("kong.auth.authenticated_entity.id", "kong.credential")),
        (ConsumerKind.SUBJECT, ("enduser.id", "user.id")),
    ),
}  # fmt: skip
"""One rule for each system: the cells of its decoder, or attributes. Sources: section 0.1 of the
formats of Kong (``consumer``, ``authenticated_entity``), API Gateway (``identity``,
``authorizer``), Apigee (``developer.app.name``); OpenTelemetry's ``enduser`` and ``user``."""

OTHER: Final = "other"
"""In the place of consumers past the limit on how many are told apart."""
