"""Labels of metrics whose values are secrets, by their names."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from pipeline.decode.kernels.columns import texts
from pipeline.decode.kernels.hashing import distinct
from pipeline.decode.kernels.kernel import Buffer, Ints, kernel
from pipeline.decode.kernels.text import LENGTH_MASK, OFFSET_BITS
from pipeline.decode.prometheus.samples import Truths
from pipeline.model.secret_keys import KEY_IDS, SECRET_WORDS

IDENTITIES: Final = frozenset({"client-id"})
"""Labels that name who calls, although an API gateway's attribute of that name is a secret:
Linkerd's ``client_id`` is the name in a workload's certificate."""

_STAR: Final = ord("*")


def is_secret_label(name: str, keys: Iterable[str]) -> bool:
    """Whether the values of a label are secrets, by its name.

    Args:
        name: of the label.
        keys: names that are masked beside those of ``model/secret_keys.py``, in lower case.
    """
    plain = _plain(name)
    if plain in IDENTITIES or plain.endswith(KEY_IDS):
        return False
    named = any(plain == _plain(key) for key in keys)
    return named or any(word in plain for word in SECRET_WORDS)


def _plain(name: str) -> str:
    """A name as a label may spell it: attributes have dots and dashes where labels have ``_``."""
    return name.lower().replace("_", "-").replace(".", "-")


def secret_labels(source: Buffer, names: Ints, keys: Iterable[str]) -> Truths:
    """Which of the labels with these names (slices) have secret values."""
    places, kinds = distinct(source, names)
    spelled = texts(source, names[places], empty_is_null=False).to_pylist()
    secret = np.array([is_secret_label(name, keys) for name in spelled], np.bool_)
    found: Truths = secret[kinds]
    return found


def overwrite(source: Buffer, slices: Ints) -> None:
    """Put stars in the place of texts."""
    _overwrite(source, np.ascontiguousarray(slices))


@kernel
def _overwrite(source: Buffer, slices: Ints) -> None:
    for one in slices:
        begin = one >> OFFSET_BITS
        source.data[begin : begin + (one & LENGTH_MASK)] = _STAR
