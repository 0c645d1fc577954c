"""Fields that tell who a person is: what becomes of them before anything is stored.

API gateways log who called: e-mail addresses, addresses of browsers and phones, subjects of tokens.
Source: the redaction list of each gateway's log format (Kong ``kong/pdk/log.lua``; API Gateway
``api-gateway-variables-for-access-logging``; Apigee's flow variable and analytics references).
Secrets are another matter, see ``secret_keys``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class PersonalData(StrEnum):
    """What becomes of personal data at the door."""

    HASH = "hash"
    DROP = "drop"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class PersonalFields:
    """The personal fields of one format whose records are JSON.

    Names are in lower case, and ``_`` and ``-`` are the same. What an array or object holds under
    such a name is personal, too. E-mail addresses are, wherever they stand in a record.

    Attributes:
        words: what makes a name personal wherever it stands in it.
        names: last words of names that are personal.
        paths: last words of names of URL paths: segments that look like ids are personal.
        uris: last words of names of URIs: what follows the question mark is dropped.
        kept: ends of names that are never personal although they have such a word in them.
    """

    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


_FORWARDED: Final = (
    "x-forwarded-for", "x-forwarded-for-ip", "forwarded", "x-real-ip", "true-client-ip",
    "cf-connecting-ip",
)  # fmt: skip
"""Headers in which proxies tell whom they speak for."""

PERSONAL_FIELDS: Final[Mapping[str, PersonalFields]] = {
    "kong_json": PersonalFields(names=("client-ip", "x-authenticated-userid", *_FORWARDED)),
    "aws_apigateway": PersonalFields(
        words=(
            "authorizer", "claims", "principalid", "principal-id", "sourceip", "source-ip",
            "userarn", "user-arn", "cognito", "email",
        ),
        names=("ip", "caller", "user", "sub", *_FORWARDED),
        paths=("path",),
        # resource paths are templates; what an authorizer took and answered is no person
        kept=("resourcepath", "resource-path", "latency", "status", "requestid", "request-id"),
    ),
    "apigee": PersonalFields(
        words=("email",),
        names=(
            "developer", "developer.id", "developer-id", "client.ip", "client-ip", "client.host",
            "client.resolved.ip", *_FORWARDED,
        ),
        uris=("uri", "url"),
    ),
}  # fmt: skip
"""By format."""

PERSONAL_ATTRIBUTES: Final = (
    "enduser.id", "user.id", "user.name", "user.full_name", "user.email", "client.address",
    "http.client_ip",
)  # fmt: skip
"""Attributes of spans, logs and data points whose values are a person's: OpenTelemetry's semantic
conventions (registry ``user``, ``enduser``, ``client``), and Kong's plugin."""
