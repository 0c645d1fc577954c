"""Frames as JSON and as Arrow streams; JSON is canonical: the same frame gives the same bytes."""

from collections.abc import Collection, Mapping
from typing import Final, Literal

import orjson
import polars as pl
import pyarrow as pa
from starlette.responses import Response

from api.problems import NotAcceptable

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"

Format = Literal["json", "arrow"]
_RANGES: Final[dict[str, Format]] = {
    ARROW: "arrow",
    JSON: "json",
    "application/*": "json",
    "*/*": "json",
}


def negotiate(accept: str | None) -> Format:
    """What to answer in, by the ``Accept`` header; JSON when in doubt (RFC 9110, 12.5.1).

    Raises:
        NotAcceptable: neither JSON nor an Arrow stream is accepted.
    """
    if not accept or not accept.strip():
        return "json"
    best: tuple[float, bool, Format] | None = None
    for part in accept.split(","):
        name, _, parameters = part.partition(";")
        form = _RANGES.get(name.strip().lower())
        quality = _quality(parameters)
        if form is not None and quality > 0:
            # A named type goes before a wildcard of the same quality.
            offer = (quality, "*" not in name, form)
            best = max(best, offer, key=lambda one: one[:2]) if best else offer
    if best is None:
        raise NotAcceptable(f"Accept allows neither {JSON} nor {ARROW}")
    return best[2]


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def json_of(
    head: Mapping[str, object],
    frames: Mapping[str, pl.DataFrame],
    *,
    nested: Collection[str] = (),
) -> bytes:
    """One JSON object: the members of ``head``, then each frame as an array of objects.

    Columns named in ``nested`` hold JSON text and become values. Times are RFC 3339 with ``Z``;
    unknown numbers, NaN and infinities are null.
    """
    members = [orjson.dumps(dict(head))[1:-1]] if head else []
    for name, frame in frames.items():
        members.append(orjson.dumps(name) + b":" + rows_json(frame, nested))
    return b"{" + b",".join(members) + b"}"


def rows_json(frame: pl.DataFrame, nested: Collection[str] = ()) -> bytes:
    """The rows of a frame as a JSON array of objects; see ``json_of``."""
    if frame.height == 0:
        return b"[]"
    written = frame.with_columns(
        rfc3339(column) for column, kind in frame.schema.items() if isinstance(kind, pl.Datetime)
    )
    if not nested:
        return written.write_json().encode()
    rows = written.to_dicts()
    for row in rows:
        row.update({name: orjson.Fragment(row[name]) for name in nested})
    return orjson.dumps(rows)


def rfc3339(column: str) -> pl.Expr:
    """A time column as text; digits of the fraction only as far as they are needed."""
    return pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")


def arrow_of(frame: pl.DataFrame, head: Mapping[str, object]) -> bytes:
    """A frame as an Arrow IPC stream; ``head`` is in the schema's metadata, each value as JSON."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    metadata = {name: orjson.dumps(value) for name, value in head.items()}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table)
    answer: bytes = sink.getvalue().to_pybytes()
    return answer


def respond(body: bytes, form: Format) -> Response:
    """A response with the media type of ``form``."""
    media = ARROW if form == "arrow" else JSON
    return Response(body, media_type=media, headers={"Vary": "Accept"})
