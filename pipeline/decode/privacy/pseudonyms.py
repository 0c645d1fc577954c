"""Personal data that rows keep only as a hash: equal stays equal, and nobody is named.

The hash has no key, so who knows a name can find its rows; who has the rows does not find the name
but by trying. That is a pseudonym in the sense of the GDPR and not anonymity.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.model.topology import PERSON

_DIGEST_BYTES: Final = 8
_PURPOSE: Final = b"meshweir"
_KNOWN: Final = 1 << 14
"""How many names are not hashed anew: clients come again."""


def hashed(column: pa.Array, prefix: str = "") -> pa.Array:
    """Texts as 16 hexadecimal digits behind a prefix; null stays null."""
    encoded = column.dictionary_encode()
    names = pa.array([prefix + _hash(name) for name in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def without_persons(column: pa.Array) -> pa.Array:
    """Names of consumers; those that are e-mail addresses hashed."""
    personal = pc.match_substring(column, "@")
    if not pc.any(personal).as_py():
        return column
    return pc.if_else(personal, hashed(column, PERSON), column)


@lru_cache(_KNOWN)
def _hash(name: str) -> str:
    return blake2b(name.encode(), digest_size=_DIGEST_BYTES, person=_PURPOSE).hexdigest()
