"""Series of remote write, 1.0 and 2.0 alike: whose they are, and what of them no row can hold.

The labels ``job`` and ``instance`` name the resource, as OpenTelemetry's page on compatibility with
Prometheus has it; all others are attributes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.prometheus.families import Declared
from pipeline.decode.prometheus.native_histogram import FAULTS as NATIVE_FAULTS, Natives, natives_of
from pipeline.decode.prometheus.samples import Truths
from pipeline.decode.wire.declaration import PARENT
from pipeline.decode.wire.intern import InternedRow, resource_row
from pipeline.decode.wire.walk import Rows, Walked
from pipeline.model.decoded import Refusal

STALE_BITS: Final = 0x7FF0000000000002
"""The NaN by which Prometheus says that a series has ended (``model/value``)."""

SAMPLES, HISTOGRAMS, EXEMPLARS = RECORDS = ("samples", "histograms", "exemplars")
"""Tables of what senders count."""

MILLISECOND: Final = 1_000_000

FAULTS: Final = (
    *NATIVE_FAULTS,
    "a series without a name",
    "a series that refers to symbols that its message does not have",
    "a time that no column holds",
    "more labels than its message can hold",
)
_NAMELESS, _BROKEN, _LATE, _TOO_MUCH = range(len(NATIVE_FAULTS), len(FAULTS))

LABEL_BYTES: Final = 16
FREE_BYTES: Final = 1 << 16
BYTES_PER_BYTE: Final = 32
"""Labels are told once for many samples, symbols once for many series, and written with every row.
What all rows of a message may have of them: so many bytes, and so many for each of its own. A label
counts as its texts and ``LABEL_BYTES``."""

_LARGEST: Final = 1 << 36
_LAST: Final = (1 << 62) // MILLISECOND
_NAME, _JOB, _INSTANCE = _SPECIAL = ("__name__", "job", "instance")


@dataclass(frozen=True, slots=True)
class Remote:
    """A walk over messages of either version.

    Attributes:
        walked: the walk, with the tables of ``remote_messages``.
        labels: cells ``key``, ``value``, ``type``; parents are series. None has an empty value.
        exemplar_labels: the same; parents are exemplars.
        broken: which series refer to what there is not.
        declare: finds what is told of the metrics of each owner.
    """

    walked: Walked
    labels: Rows
    exemplar_labels: Rows
    broken: Truths
    declare: "Declare"


@dataclass(frozen=True, slots=True)
class Series:
    """All series, with whose they are.

    Attributes:
        remote: the walk.
        messages: of each its message.
        names: slices of their names.
        keys: of each row of ``remote.labels`` the number of its key.
        labels: the labels that are attributes.
        owners: of each its owner: its message and its target.
        owner_messages: of each owner its message.
        resources: of each owner its row of ``resources``.
        natives: native histograms.
        faults: of each row of the tables ``RECORDS`` the number of what is wrong with it.
    """

    remote: Remote
    messages: Ints
    names: Ints
    keys: Ints
    labels: Rows
    owners: Ints
    owner_messages: Sequence[int]
    resources: Sequence[InternedRow]
    natives: Natives
    faults: Mapping[str, Ints]

    def refused(self) -> tuple[Refusal, ...]:
        """What is told of all that is refused, in message order."""
        told = list(self.remote.walked.refused)
        for table in RECORDS:
            told += self._refused(table)
        return tuple(sorted(told, key=lambda refusal: refusal.message))

    def _refused(self, table: str) -> list[Refusal]:
        walked, faults = self.remote.walked, self.faults[table]
        rows, bad = walked.rows(table), np.flatnonzero(faults)
        kinds = self.messages[rows.parents[bad]] * len(FAULTS) + faults[bad]
        kinds, first, counts = np.unique(kinds, return_index=True, return_counts=True)
        places = rows.column("raw")[bad[first]] >> OFFSET_BITS
        messages = kinds // len(FAULTS)
        return [
            Refusal(message, FAULTS[kind % len(FAULTS)], offset, count)
            for message, kind, offset, count in zip(
                messages.tolist(),
                kinds.tolist(),
                (places - walked.bounds[messages, 0]).tolist(),
                counts.tolist(),
                strict=True,
            )
        ]


Declare = Callable[[Series], tuple[Declared, ...]]


def series_of(remote: Remote) -> Series:
    """Find whose series are, and what is wrong with what they tell."""
    walked, labels = remote.walked, remote.labels
    rows = walked.rows("series")
    places, keys = distinct(walked.buffer, labels.column("key"))
    spelled = texts(walked.buffer, labels.column("key")[places], empty_is_null=False).to_pylist()
    told = {
        name: _values(labels, keys == spelled.index(name) if name in spelled else None, len(rows))
        for name in _SPECIAL
    }
    messages = np.ascontiguousarray(rows.parents)
    owners, first = _owners(walked, messages, told)
    jobs, instances = (
        texts(walked.buffer, told[name][first], empty_is_null=False).to_pylist()
        for name in (_JOB, _INSTANCE)
    )
    resources = [_resource(job, instance) for job, instance in zip(jobs, instances, strict=True)]
    plain = ~np.isin(keys, [number for number, key in enumerate(spelled) if key in _SPECIAL])
    natives = natives_of(walked, messages[walked.rows(HISTOGRAMS).parents], STALE_BITS)
    return Series(
        remote,
        messages,
        told[_NAME],
        keys,
        Rows(np.ascontiguousarray(labels.cells[plain]), labels.names),
        owners,
        messages[first].tolist(),
        resources,
        natives,
        _faults(remote, told[_NAME], natives),
    )


def _values(labels: Rows, here: Truths | None, count: int) -> Ints:
    """Of each series the slice of one label; 0 where it has none."""
    values = np.zeros(count, np.int64)
    if here is not None:
        values[labels.parents[here]] = labels.column("value")[here]
    return values


def _owners(walked: Walked, messages: Ints, told: Mapping[str, Ints]) -> tuple[Ints, Ints]:
    """Of each series its owner, and of each owner its first series."""
    jobs, instances = (distinct(walked.buffer, told[name])[1] for name in (_JOB, _INSTANCE))
    most = len(messages) + 1
    targets, target = np.unique(jobs * most + instances, return_inverse=True)
    owners = messages * (len(targets) + 1) + target
    _, first, number = np.unique(owners, return_index=True, return_inverse=True)
    return number, first


def _resource(job: str, instance: str) -> InternedRow:
    told = {"service.name": job, "service.instance.id": instance}
    return resource_row({name: text for name, text in told.items() if text})


def _faults(remote: Remote, names: Ints, natives: Natives) -> dict[str, Ints]:
    """Of each row of the tables of records the number of what is wrong with it."""
    of_series = np.where(names & LENGTH_MASK == 0, _NAMELESS, 0)
    of_series[remote.broken] = _BROKEN
    of_series[(of_series == 0) & _over_budget(remote)] = _TOO_MUCH
    faults: dict[str, Ints] = {}
    for table in RECORDS:
        rows = remote.walked.rows(table)
        found = of_series[rows.parents]
        times = rows.column("timestamp")
        found[(found == 0) & ((times < 0) | (times > _LAST))] = _LATE
        if table == HISTOGRAMS:
            found = np.where(found == 0, natives.faults, found)
        faults[table] = found
    return faults


def _over_budget(remote: Remote) -> Truths:
    """Which series have more labels in all rows, with those before them, than their message may."""
    walked = remote.walked
    rows = walked.rows("series")
    records = np.zeros(len(rows), np.int64)
    for table in RECORDS:
        records += np.bincount(walked.rows(table).parents, minlength=len(rows))
    costs = records * _bytes_of(remote.labels, len(rows))
    exemplars = walked.rows(EXEMPLARS)
    more = _bytes_of(remote.exemplar_labels, len(exemplars))
    costs += np.bincount(exemplars.parents, more, len(rows)).astype(np.int64)
    # what a single message could cost at most fits, whatever it says
    total = np.cumsum(np.minimum(costs, _LARGEST))
    before = np.concatenate(([0], total))[np.searchsorted(rows.parents, rows.parents)]
    sizes = (walked.bounds[:, 1] - walked.bounds[:, 0])[rows.parents]
    over: Truths = total - before > FREE_BYTES + BYTES_PER_BYTE * sizes
    return over


def _bytes_of(labels: Rows, count: int) -> Ints:
    """Of each owner the bytes of its labels."""
    lengths = (labels.column("key") & LENGTH_MASK) + (labels.column("value") & LENGTH_MASK)
    told = np.bincount(labels.parents, lengths + LABEL_BYTES, count)
    return told.astype(np.int64)


def repeated(labels: Rows, owners: Ints) -> Rows:
    """The labels of each of these owners (parents), once for each time that an owner is named."""
    parents = np.ascontiguousarray(labels.parents)
    begins, ends = (np.searchsorted(parents, owners, side=side) for side in ("left", "right"))
    counts = ends - begins
    before = np.cumsum(counts) - counts
    rows = np.repeat(begins - before, counts) + np.arange(int(counts.sum()))
    cells = labels.cells[rows]
    cells[:, PARENT] = np.repeat(np.arange(len(owners)), counts)
    return Rows(np.ascontiguousarray(cells), labels.names)
