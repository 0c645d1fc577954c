"""Remote write 2.0: ``io.prometheus.write.v2.Request`` to rows of ``metric_points``.

Texts are told once in a message, as symbols, and referred to by their number. What type a metric is
of, and its unit, comes with each series.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.gates.wire_gate import WireGate
from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.lists import varint_lists
from pipeline.decode.privacy.label_masking import overwrite, secret_labels
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.prometheus.families import Declared, stem_of
from pipeline.decode.prometheus.label_rows import label_rows
from pipeline.decode.prometheus.remote_messages import REMOTE_WRITE_2, TYPES
from pipeline.decode.prometheus.remote_rows import decoded_of
from pipeline.decode.prometheus.remote_series import EXEMPLARS, RECORDS, Remote, Series, series_of
from pipeline.decode.prometheus.samples import Truths
from pipeline.decode.wire.walk import Rows, Walked
from pipeline.model.decoded import Decoded, Refusal


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode serialised ``Request`` messages."""
    return decoded_of(_remote(REMOTE_WRITE_2.walk(messages)))


def refused(walked: Walked) -> tuple[Refusal, ...]:
    """Malformed messages, and what no row can hold."""
    return series_of(_remote(walked)).refused()


def taken(message: bytes) -> tuple[int, ...]:
    """How many of each of ``RECORDS`` the decoder will take; nothing of a malformed message."""
    faults = series_of(_remote(REMOTE_WRITE_2.walk([message]))).faults
    return tuple(int((faults[table] == 0).sum()) for table in RECORDS)


def mask(walked: Walked, masked: MaskedKeys) -> bool:
    """Overwrite symbols that are the value of a secret label; tells if it did.

    Where another label has the same value, that is masked, too.
    """
    remote, hidden = _remote(walked), False
    for labels in (remote.labels, remote.exemplar_labels):
        secret = secret_labels(walked.buffer, labels.column("key"), masked.names)
        overwrite(walked.buffer, labels.column("value")[secret])
        hidden |= bool(secret.any())
    return hidden


def _remote(walked: Walked) -> Remote:
    series, exemplars = walked.rows("series"), walked.rows(EXEMPLARS)
    labels, broken = _labels(walked, "labels", series.parents)
    of_exemplars = series.parents[exemplars.parents]
    exemplar_labels, bad = _labels(walked, "exemplar_labels", of_exemplars)
    broken[exemplars.parents[bad]] = True
    return Remote(walked, labels, exemplar_labels, broken, _declared)


def _labels(walked: Walked, table: str, messages: Ints) -> tuple[Rows, Truths]:
    """The labels of owners that are in these messages; and which owners refer to no symbol."""
    references = varint_lists(walked.buffer, walked.rows(table), len(messages), pa.uint64())
    offsets = references.offsets.to_numpy().astype(np.int64)
    counts = np.diff(offsets)
    broken: Truths = counts % 2 != 0
    told = references.values.to_numpy(zero_copy_only=False).view(np.int64) & 0xFFFFFFFF
    owners = np.repeat(np.arange(len(messages)), counts)
    slices, known = _symbols(walked, told, messages[owners])
    broken[owners[~known]] = True
    whole = ~broken[owners]
    pairs, owners = slices[whole].reshape(-1, 2), owners[whole][::2]
    return label_rows(owners, pairs[:, 0], pairs[:, 1]), broken


def _symbols(walked: Walked, references: Ints, messages: Ints) -> tuple[Ints, Truths]:
    """The slices of symbols by their numbers in these messages, and which numbers there are."""
    symbols = walked.rows("symbols")
    counts = np.bincount(symbols.parents, minlength=len(walked.bounds))
    known = references < counts[messages]
    begins = np.cumsum(counts) - counts
    slices = np.zeros(len(references), np.int64)
    slices[known] = symbols.column("items")[(begins[messages] + references)[known]]
    return slices, known


def _declared(series: Series) -> tuple[Declared, ...]:
    """What series tell of their metrics, for each owner."""
    walked = series.remote.walked
    rows = walked.rows("series")
    units, _ = _symbols(walked, rows.column("unit"), rows.parents)
    declared = tuple(Declared({}, {}) for _ in series.owner_messages)
    places, names = distinct(walked.buffer, series.names)
    types = np.clip(rows.column("type"), 0, len(TYPES) + 1)
    kinds = (series.owners * (len(places) + 1) + names) * (len(TYPES) + 2) + types
    _, first = np.unique(kinds, return_index=True)
    spelled = texts(walked.buffer, series.names[places], empty_is_null=False).to_pylist()
    words = texts(walked.buffer, units[first], empty_is_null=False).to_pylist()
    for owner, name, type_, unit in zip(
        *(one[first].tolist() for one in (series.owners, names, types)), words, strict=True
    ):
        word = TYPES.get(type_, "")
        declared[owner].tell(stem_of(spelled[name], word), word, unit)
    return declared


GATE: Final = WireGate(REMOTE_WRITE_2, RECORDS, refused, mask)
"""What the door knows of remote write 2.0."""
