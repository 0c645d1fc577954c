"""Where rows are at home, and which rows a recomputation needs: the index of homes over the store.

Spans are known by their trace, access log entries by their trace id and by their request id; a row
that has both makes them one group, so that a gateway's entry and what is told behind it are at home
in one slice and recomputed together.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from pipeline.analyze.arrays import read_only, values
from pipeline.jobs.groups import Groups
from pipeline.jobs.homes import I64, NOTHING, U64, Homes, Pairs, Remembered, trace_keys
from pipeline.store.port import Store, Unit

SLICES_TOGETHER: Final = 64
"""Slices whose keys are read at once when the index of homes is built anew."""

LINKS: Final = pl.Schema({"home": pl.Int64, "slice": pl.Int64})
"""Slice ``slice`` may hold rows whose home is ``home``; both became dirty."""

_IDS: Final = ("trace_id_high", "trace_id_low", "request_id")


class Places:
    """Knows of every noticed slice what is at home where. Not safe for concurrent use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._homes = Homes()
        self._oldest = 0
        self._logged: set[int] = set()
        self._no_logs: pl.DataFrame | None = None
        noticed = store.noticed()
        for start in range(0, len(noticed), SLICES_TOGETHER):
            self.place(noticed[start : start + SLICES_TOGETHER])

    def forget(self, oldest: int) -> None:
        """Slices below ``oldest`` have left the store."""
        self._oldest = oldest
        self._homes.forget(oldest)
        self._logged = {number for number in self._logged if number >= oldest}

    def place(self, slices: Sequence[int]) -> pl.DataFrame:
        """Find the homes of all traces and requests of slices that were not placed yet.

        Args:
            slices: ascending, each higher than all that were placed before.

        Returns:
            Columns of ``LINKS``: which homes the slices add rows to. Where rows made groups one,
            the home that one of them left is among those, and the other gets all its slices.
        """
        spans = self._store.ask("trace_keys", slices=slices)
        logs = self._store.ask("request_keys", slices=slices)
        self._logged.update(logs["slice"])
        rows = pl.concat([spans, logs])
        links: set[tuple[int, int]] = set()
        for number in slices:
            found = _keys_of(rows.filter(pl.col("slice") == number))
            placed = self._homes.place(
                found.keys, number, partial(self._remembered, found, number), found.pairs
            )
            links |= {(home, number) for home in np.unique(placed.homes).tolist()}
            for before, now in placed.left.tolist():
                links |= {(before, number)} | self._inherited(before, now, links)
        ordered = sorted(link for link in links if link[0] < link[1])
        return pl.DataFrame(ordered, schema=LINKS, orient="row")

    def _inherited(
        self, before: int, now: int, links: set[tuple[int, int]]
    ) -> set[tuple[int, int]]:
        """Links to the home ``now`` of all slices that may hold what was at home in ``before``."""
        holding = set(self._store.linked([Unit(before, before)])) | {before}
        holding |= {number for home, number in links if home == before}
        return {(now, number) for number in holding if number > now}

    def _remembered(
        self, found: "_Keys", number: int, wanted: I64, low: int, high: int
    ) -> Remembered:
        """The groups in earlier slices that keys of a slice belong to, by asking the store."""
        ids = found.ids[wanted]
        first = self._store.ask("group_rows", low=low, high=high, **_asked(ids))
        rows, known = first.clear(), ids.clear()
        more = _ids_in(first)
        while not more.is_empty():
            known = pl.concat([known, more])
            rows = self._store.ask("group_rows", low=self._oldest, high=number - 1, **_asked(known))
            more = _ids_in(rows).join(known, on=_IDS, how="anti", nulls_equal=True)
        if rows.is_empty():
            return NOTHING
        keys = _keys_of(rows)
        return Remembered(keys.keys, keys.slices, keys.pairs)

    def rows_of(self, units: Sequence[Unit]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Spans and access logs whose home lies in units, and perhaps more, with their homes.

        Homes are looked up; where the index has put them away, earlier slices are read for them.
        """
        slices = self._store.linked(units)
        later = [number for number in slices if number >= units[0].low]
        spans, logs = self._store.ask("pair_spans", slices=later), self._logs_of(later)
        found = self._homes.find(_main_keys(spans)), self._homes.find(_main_keys(logs))
        named = pl.any_horizontal(pl.col("trace_id_low", "request_id").is_not_null())
        if (found[0] < 0).any() or (found[1][logs.select(named).to_series().to_numpy()] < 0).any():
            spans, logs = self._store.ask("pair_spans", slices=slices), self._logs_of(slices)
            found = self._homes_by_reading(slices, spans, logs)
        homes = pl.Series("home", found[1])
        return (
            spans.with_columns(pl.Series("home", found[0])),
            logs.with_columns(home=pl.when(named).then(homes).otherwise("slice")),
        )

    def _homes_by_reading(
        self, slices: list[int], spans: pl.DataFrame, logs: pl.DataFrame
    ) -> tuple[I64, I64]:
        """Homes from the keys of all slices that hold rows of the groups of these.

        A group whose home is elsewhere is linked to there, and from there to all its slices.
        """
        wide = self._store.linked([Unit(number, number) for number in slices])
        rows = pl.concat(
            [self._store.ask(question, slices=wide) for question in ("trace_keys", "request_keys")]
        )
        known = _keys_of(rows)
        groups = Groups()
        numbers = groups.found(known.slices)
        groups.unite(numbers[known.pairs.ones], numbers[known.pairs.others])
        homes = groups.homes(numbers)
        spans_at, logs_at = (
            np.searchsorted(known.keys, _main_keys(rows)).clip(max=max(len(homes) - 1, 0))
            for rows in (spans, logs)
        )
        return homes[spans_at], homes[logs_at]

    def _logs_of(self, slices: list[int]) -> pl.DataFrame:
        """Access logs of those slices that have any.

        DuckLake takes a tenth of a second of processor time to find no row in a table as wide as
        this one while it is empty, which it is where meshes only send spans.
        """
        logged = [number for number in slices if number in self._logged]
        if logged:
            return self._store.ask("pair_access_logs", slices=logged)
        if self._no_logs is None:
            self._no_logs = self._store.ask("pair_access_logs", slices=[])
        return self._no_logs


class _Keys(NamedTuple):
    """The keys of rows.

    Attributes:
        keys: ascending, distinct, read-only.
        slices: of each key the lowest slice of the rows.
        ids: of each key the trace or request it stands for, columns ``_IDS``.
        pairs: which of them one row carries both.
    """

    keys: U64
    slices: I64
    ids: pl.DataFrame
    pairs: Pairs


def _keys_of(rows: pl.DataFrame) -> _Keys:
    """The keys of the answers to ``trace_keys`` and ``request_keys``, with their slices."""
    traced = rows["trace_id_low"].is_not_null()
    named = rows["request_id"].is_not_null()
    traces, requests = rows.filter(traced), rows.filter(named)
    both = (traced & named).to_numpy()
    ids = pl.concat(
        [
            traces.select("slice", *_IDS[:2], pl.lit(None, pl.String).alias(_IDS[2])),
            requests.select(
                "slice", *(pl.lit(None, pl.UInt64).alias(name) for name in _IDS[:2]), _IDS[2]
            ),
        ]
    )
    every = np.concatenate((_trace_keys(traces), _request_keys(requests)))
    keys, first, places = np.unique(every, return_index=True, return_inverse=True)
    slices = np.full(len(keys), np.iinfo(np.int64).max)
    np.minimum.at(slices, places, ids["slice"].to_numpy())
    return _Keys(
        read_only(keys),
        slices,
        ids[first].select(_IDS),
        Pairs(
            places[: len(traces)][both[traced.to_numpy()]],
            places[len(traces) :][both[named.to_numpy()]],
        ),
    )


def _main_keys(rows: pl.DataFrame) -> U64:
    """Of each row the key by which its home is found: its trace's, else its request's."""
    traced = rows["trace_id_low"].is_not_null().to_numpy()
    keys = np.zeros(len(rows), np.uint64)
    keys[traced] = _trace_keys(rows.filter(pl.Series(traced)))
    if not traced.all():
        keys[~traced] = _request_keys(rows.filter(pl.Series(~traced)))
    return read_only(keys)


def _trace_keys(rows: pl.DataFrame) -> U64:
    high = rows["trace_id_high"].fill_null(0)
    return trace_keys(values(high), values(rows["trace_id_low"]))


def _request_keys(rows: pl.DataFrame) -> U64:
    return values(rows["request_id"].hash(seed=1))


def _asked(ids: pl.DataFrame) -> dict[str, list[int] | list[str]]:
    """Traces and requests as parameters of the question ``group_rows``."""
    return {
        "traces": ids["trace_id_low"].drop_nulls().to_list(),
        "requests": ids["request_id"].drop_nulls().to_list(),
    }


def _ids_in(rows: pl.DataFrame) -> pl.DataFrame:
    """The traces and requests that rows are of, one on each row."""
    return _keys_of(rows).ids
