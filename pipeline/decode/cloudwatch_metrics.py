"""CloudWatch metric streams in JSON: one statistic set of one metric and one minute on each line.

A point becomes what the same stream in OpenTelemetry 1.0 says of it, so that a metric has one name
whichever output format an account chose: a summary called ``amazonaws.com/<namespace>/<metric>``,
with the smallest and largest value as the quantiles 0 and 1 and percentiles between them. Times are
Unix milliseconds. Source: CloudWatch user guide, ``CloudWatch-metric-streams-formats-json`` and
``-opentelemetry-translation-100``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast

import orjson
import pyarrow as pa

from pipeline.decode.lines.json_lines import NOT_AN_OBJECT, NOT_JSON, Object, has_keys, json_lines
from pipeline.decode.lines.lines import LineFormat
from pipeline.decode.records.gateway_records import EARLIEST_NS, REFUSED, resources_of
from pipeline.model.decoded import Decoded
from pipeline.model.tables import METRIC_POINTS, RESOURCES

BROKEN_FRAME: Final = "OTLP of a metric stream with a broken length"
BROKEN_OTLP: Final = "OTLP of a metric stream that is not protobuf"
NO_NAME: Final = "no namespace or no metric name"
NO_TIME: Final = "its time cannot be read"
NO_VALUE: Final = "no count and sum"

REASONS: Final = (
    "", NOT_JSON, NOT_AN_OBJECT, BROKEN_FRAME, BROKEN_OTLP, "malformed", NO_NAME, NO_TIME, NO_VALUE,
)  # fmt: skip
"""Why a line is refused; the first is that it is not."""

LINES: Final = LineFormat(has_keys("namespace", "metric_name", "timestamp", "value"), json=True)

PERIOD_NS: Final = 60 * 10**9
"""What a point covers, from its timestamp on. The JSON does not say it; a standard metric's
resolution is a minute, and OpenTelemetry's form of the same stream tells both ends."""

NAME_PREFIX: Final = "amazonaws.com"

_LATEST_NS: Final = 1 << 63
_MILLISECOND_NS: Final = 10**6
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?)", re.ASCII)
_PLAIN: Final = frozenset({"count", "sum", "min", "max"})

UNITS: Final[Mapping[str, str]] = {
    "Seconds": "s", "Second": "s", "Microseconds": "us", "Milliseconds": "ms",
    "Bytes": "By", "Kilobytes": "kBy", "Megabytes": "MBy", "Gigabytes": "GBy", "Terabytes": "TBy",
    "Bits": "bit", "Kilobits": "kbit", "Megabits": "MBit", "Gigabits": "GBit", "Terabits": "Tbit",
    "Percent": "%", "Count": "{Count}", "None": "1",
}  # fmt: skip
"""CloudWatch's units in the spelling that its OpenTelemetry output has for them."""


class _Bad(Exception):
    """A line that is no point; says why."""


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode metric streams in JSON to rows of ``metric_points``, one for each line."""
    found = json_lines(messages)
    bad = found.bad.copy()
    rows: list[Object] = []
    origins: list[tuple[str | None, ...]] = []
    for line, told in zip(found.index.tolist(), found.objects, strict=True):
        try:
            rows.append(_row(told))
        except _Bad as problem:
            bad[line] = REASONS.index(str(problem))
        else:
            origins.append(_origin(told))
    refused = found.lines.refusals(REASONS, bad)
    if not rows:
        return Decoded(refused=refused)
    ids, resources = resources_of(
        [pa.array(column, pa.string()) for column in zip(*origins, strict=True)], _resource
    )
    points = pa.Table.from_pylist(rows, METRIC_POINTS.arrow)
    place = METRIC_POINTS.names.index("resource_id")
    points = points.set_column(place, METRIC_POINTS.arrow.field(place), ids)
    return Decoded({METRIC_POINTS.name: points, RESOURCES.name: resources}, refused)


def _row(told: Object) -> Object:
    if REFUSED in told:
        raise _Bad(told[REFUSED] if told[REFUSED] in (BROKEN_FRAME, BROKEN_OTLP) else "malformed")
    namespace, metric = told.get("namespace"), told.get("metric_name")
    if not (isinstance(namespace, str) and isinstance(metric, str) and namespace and metric):
        raise _Bad(NO_NAME)
    start = _nanoseconds(told.get("timestamp"))
    value = told.get("value")
    statistics = value if isinstance(value, dict) else {}
    quantiles = _quantiles(statistics)
    others = {name: it for name, it in statistics.items() if _is_other(name)}
    attributes = {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": _dimensions(told.get("dimensions")),
        **({"Statistics": others} if others else {}),
    }
    return {
        "time": start + PERIOD_NS,
        "start_time": start,
        "name": f"{NAME_PREFIX}/{namespace}/{metric}",
        "unit": _unit(told.get("unit")),
        "type": "summary",
        "count": _count(statistics.get("count")),
        "sum": _told(statistics.get("sum")),
        "min": _number(statistics.get("min")),
        "max": _number(statistics.get("max")),
        "quantiles": [quantile for quantile, _ in quantiles],
        "quantile_values": [value for _, value in quantiles],
        "flags": 0,
        "attributes": _json(attributes),
    }


def _nanoseconds(timestamp: object) -> int:
    if _number(timestamp) is None:
        raise _Bad(NO_TIME)
    start = int(cast("float", timestamp)) * _MILLISECOND_NS
    if not EARLIEST_NS <= start < _LATEST_NS - PERIOD_NS:
        raise _Bad(NO_TIME)
    return start


def _number(value: object) -> float | None:
    """A number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _told(value: object) -> float:
    number = _number(value)
    if number is None:
        raise _Bad(NO_VALUE)
    return number


def _count(value: object) -> int:
    """How many samples; CloudWatch writes it as a double, and senders may weigh their samples."""
    number = _told(value)
    if not 0 <= number < 1 << 63:
        raise _Bad(NO_VALUE)
    return round(number)


def _quantiles(statistics: Mapping[str, object]) -> list[tuple[float, float]]:
    """The smallest value, percentiles, and the largest value, as far as they are told."""
    found = {0.0: _number(statistics.get("min")), 1.0: _number(statistics.get("max"))}
    for name, value in statistics.items():
        match = _PERCENTILE.fullmatch(name)
        if match:
            # by way of decimal digits: p99.9 is the double 0.999, as OpenTelemetry's output has it
            found[float(Decimal(match[1]) / 100)] = _number(value)
    return sorted((quantile, value) for quantile, value in found.items() if value is not None)


def _is_other(name: str) -> bool:
    """Whether a statistic has no column: trimmed means and the like."""
    return name not in _PLAIN and not _PERCENTILE.fullmatch(name)


def _dimensions(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(attributes: Object) -> str:
    try:
        return orjson.dumps(attributes).decode()
    except orjson.JSONEncodeError as error:  # nested more deeply than it is written
        raise _Bad("malformed") from error


def _unit(unit: object) -> str | None:
    """The unit as UCUM has it; of units with a slash both sides."""
    if not isinstance(unit, str) or not unit:
        return None
    return "/".join(UNITS.get(part, part) for part in unit.split("/"))


def _origin(told: Object) -> tuple[str | None, ...]:
    members = (told.get(name) for name in ("account_id", "region", "metric_stream_name"))
    return tuple(one if isinstance(one, str) else None for one in members)


def _resource(told: Sequence[str]) -> dict[str, str | None]:
    account, region, stream = told
    return {
        "system": "aws",
        "cloud.provider": "aws",
        "cloud.account.id": account,
        "cloud.region": region,
        "aws.cloudwatch.metric_stream": stream,
    }
