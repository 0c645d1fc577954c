"""What each byte may be in text that is looked at for secrets."""

from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Bytes

LETTER, NAME, TOKEN, END, TRIGGER = 1, 2, 4, 8, 16
"""What a byte may be: a letter or digit; part of a name; part of a token; the end of an unquoted
value; worth a second look."""


def _classes() -> Bytes:
    classes = np.zeros(256, np.uint8)
    alphanumeric = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for text, kind in (
        (alphanumeric, LETTER | NAME | TOKEN),
        (b"-_.", NAME | TOKEN),
        (b"+/=~", TOKEN),
        (b" \t\r\n\"&';,)]}#\\|<>", END),
        (b"=:%@e ", TRIGGER),
    ):
        classes[np.frombuffer(text, np.uint8)] |= kind
    return classes


CLASS: Final = _classes()
