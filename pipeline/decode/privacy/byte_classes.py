"""What each byte may be in text that is looked at for secrets."""

from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Bytes

LETTER, NAME, TOKEN, END = 1, 2, 4, 8
"""What a byte may be: a letter or digit; part of a name; part of a token; the end of an unquoted
value."""

_ALPHANUMERIC: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
NAME_BYTES: Final = b"-_." + _ALPHANUMERIC
"""What a name consists of."""


def _classes() -> Bytes:
    classes = np.zeros(256, np.uint8)
    for text, kind in (
        (_ALPHANUMERIC, LETTER),
        (NAME_BYTES, NAME | TOKEN),
        (b"+/=~", TOKEN),
        (b" \t\r\n\"&';,)]}#\\|<>", END),
    ):
        classes[np.frombuffer(text, np.uint8)] |= kind
    return classes


CLASS: Final = _classes()
