"""Kong's access logs by OTLP (3.13 and newer), as the records that its serializer writes.

Attributes are those of the plugin's documentation: latencies in seconds, the time of the request in
``kong.request.started_at``, headers as ``http.request.header.<name>``. Of ``kong.latency.*`` only
total, internal and upstream have a stated unit; others are not read.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

MARK: Final = '"kong.request.id":'
"""What every such record has, in the JSON of its attributes."""

_MEMBERS: Final = {
    ("request", "id"): ("kong.request.id",),
    ("request", "method"): ("http.request.method", "http.method"),
    ("request", "uri"): ("url.path", "url.full"),
    ("request", "size"): ("http.request.size",),
    ("response", "status"): ("http.response.status_code",),
    ("response", "size"): ("http.response.size",),
    ("upstream_status",): ("kong.upstream.status_code",),
    ("service", "id"): ("kong.service.id",),
    ("service", "name"): ("kong.service.name",),
    ("service", "host"): ("kong.service.host",),
    ("service", "port"): ("kong.service.port",),
    ("route", "id"): ("kong.route.id",),
    ("route", "name"): ("kong.route.name",),
    ("consumer", "id"): ("kong.auth.consumer.id",),
    ("consumer", "username"): ("kong.auth.consumer.username", "kong.auth.consumer.name"),
    ("consumer", "custom_id"): ("kong.auth.consumer.custom_id",),
    ("authenticated_entity", "id"): ("kong.auth.authenticated_entity.id",),
    ("client_ip",): ("client.address",),
    ("source",): ("kong.response.source",),
    ("workspace",): ("kong.workspace.id",),
    ("workspace_name",): ("kong.workspace.name",),
}
_LATENCIES: Final = {
    "request": "kong.latency.total",
    "kong": "kong.latency.internal",
    "proxy": "kong.latency.upstream",
}
_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?")
_LATEST_NS: Final = 2**63
_UNITS_PER_MS: Final = ((10**17, 10**6), (10**14, 10**3), (10**11, 1))
"""Times from so large a number on are in units of which so many are a millisecond."""


def record(attributes: Mapping[str, object], time_ns: int | None) -> dict[str, object]:
    """The record of one request.

    Args:
        attributes: of the log record.
        time_ns: its time, Unix nanoseconds, where it has one: that of its end, when nothing better
            is told.
    """
    told: dict[str, object] = {"latencies": dict(_latencies(attributes))}
    for path, names in _MEMBERS.items():
        value = next((attributes[name] for name in names if name in attributes), None)
        if value is not None:
            _put(told, path, value)
    for side in ("request", "response"):
        prefix = f"http.{side}.header."
        for name, value in attributes.items():
            if name.startswith(prefix):
                first = value[0] if isinstance(value, list) and value else value
                _put(told, (side, "headers", name.removeprefix(prefix)), first)
    if "user_agent.original" in attributes:
        _put(told, ("request", "headers", "user-agent"), attributes["user_agent.original"])
    started = _milliseconds(attributes.get("kong.request.started_at"))
    if started is None and time_ns is not None:
        started = time_ns // 10**6
    told["started_at"] = started
    return told


def _latencies(attributes: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    for member, name in _LATENCIES.items():
        seconds = attributes.get(name)
        if isinstance(seconds, int | float) and 0 <= seconds < 10**9:
            yield member, round(seconds * 1000)


def _milliseconds(value: object) -> int | None:
    """A time in whatever unit it is, by its size."""
    number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    if not isinstance(number, int | float) or not 0 < number < _LATEST_NS:
        return None
    for least, per_ms in _UNITS_PER_MS:
        if number >= least:
            return int(number // per_ms)
    return int(number * 1000)


def _put(told: dict[str, object], path: tuple[str, ...], value: object) -> None:
    at = told
    for name in path[:-1]:
        inner = at.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        at = inner
    at[path[-1]] = value
