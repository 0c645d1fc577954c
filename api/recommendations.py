"""Advice, with its evidence and its document for every control plane."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

import orjson
import polars as pl

from api.graph import NO_ALIASES
from api.identities import known_aliases
from api.times import Window
from pipeline.analyze import alias
from pipeline.analyze.metric_minutes import SIGNAL
from pipeline.model.policy import Recommendation
from pipeline.recommend import recommend
from pipeline.render import render_all
from pipeline.render.renderer import Manifest, Unsupported
from pipeline.store.port import Store

NESTED: Final = ("policy", "rendered")
"""Columns of JSON text: their members differ from row to row."""

_TEXT: Final = pl.String()
RECOMMENDATIONS: Final = pl.Schema(
    {
        "id": _TEXT,
        "rule": _TEXT,
        "policy": _TEXT,
        "target": pl.Struct({"server": _TEXT, "client": _TEXT, "route": _TEXT}),
        "reason": _TEXT,
        "evidence": pl.List(
            pl.Struct({"name": _TEXT, "value": pl.Float64(), "unit": _TEXT, "source": _TEXT})
        ),
        "expected_effect": _TEXT,
        "confidence": pl.Float64(),
        "undo": _TEXT,
        "start": pl.Datetime("us"),
        "end": pl.Datetime("us"),
        "rendered": _TEXT,
    }
)
"""Columns of the list of recommendations."""


def advised(store: Store, window: Window, aliases: Mapping[str, str] = NO_ALIASES) -> pl.DataFrame:
    """What could be set better, judged by a window of history; blocks."""
    minutes = store.ask("edge_minutes", start=window.start, end=window.end)
    # buckets of metrics are too wide to draw a bound from, and the last of them has none
    minutes = minutes.filter(pl.col("signal") != SIGNAL)
    known = alias.resolve(minutes, known_aliases(store, aliases))
    advice = recommend(known, start=window.start, end=window.end)
    return pl.DataFrame([_row(one) for one in advice], schema=RECOMMENDATIONS, orient="row")


def _row(advice: Recommendation) -> dict[str, object]:
    kind = type(advice.policy).__name__.lower()
    rendered = {shown.plane: _rendered(shown) for shown in render_all(advice)}
    return asdict(advice) | {
        "policy": orjson.dumps({"kind": kind, **asdict(advice.policy)}).decode(),
        "evidence": [asdict(one) for one in advice.evidence],
        "start": _naive(advice.start),
        "end": _naive(advice.end),
        "rendered": orjson.dumps(rendered).decode(),
    }


def _rendered(shown: Manifest | Unsupported) -> dict[str, str | None]:
    if isinstance(shown, Unsupported):
        return {"kind": None, "document": None, "unsupported": shown.reason}
    return {"kind": shown.kind, "document": shown.text, "unsupported": None}


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)
