"""The compiled BLAKE2b is the one of RFC 7693: hashlib's is the oracle."""

import hashlib

from hypothesis import given, strategies as st

from pipeline.decode.kernels.kernel import buffer_of
from pipeline.decode.privacy.blake2 import DIGEST_BYTES, KEY_BYTES, again, digest, digest_of, keyed


def by_hashlib(text: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES, key=key, person=b"meshweir").digest()


@given(st.binary(min_size=1, max_size=600), st.binary(min_size=1, max_size=KEY_BYTES))
def test_digests_are_those_of_hashlib(text, key):
    assert digest_of(text, keyed(key)) == by_hashlib(text, key)


def test_digests_at_the_bounds_of_blocks_are_those_of_hashlib():
    hashing = keyed(b"key")
    for length in (1, 7, 8, 9, 127, 128, 129, 255, 256, 257, 4096):
        text = bytes(range(256)) * 17
        assert digest_of(text[:length], hashing) == by_hashlib(text[:length], b"key")


def test_only_the_part_that_was_asked_for_is_hashed():
    hashing = again(keyed(b"key"))
    digest(buffer_of([b"before", b"10.0.0.7", b"after"]), 6, 14, hashing)
    assert hashing.state.tobytes()[:DIGEST_BYTES] == by_hashlib(b"10.0.0.7", b"key")
