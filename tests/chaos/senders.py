"""Senders of numbered spans, which remember what was acknowledged."""

import threading
import time
from collections.abc import Callable

from tests.collectors.payloads import traces

SPANS = 40
"""Spans in a request."""

PAUSE_SECONDS = 0.02
"""Between two requests of one sender."""


def numbered(number: int) -> bytes:
    """A request whose trace ids tell its number."""
    request = traces(SPANS)
    for spans in request.resource_spans:
        for scope in spans.scope_spans:
            for place, span in enumerate(scope.spans):
                span.trace_id = number.to_bytes(8, "big") + place.to_bytes(8, "big")
                span.span_id = (place + 1).to_bytes(8, "big")
                span.ClearField("parent_span_id")
                span.start_time_unix_nano = time.time_ns()
                span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
    return request.SerializeToString()


class Sender(threading.Thread):
    """Sends requests with numbers of their own until told to stop; a number is never sent twice.

    Attributes:
        acknowledged: numbers of the requests to which the answer was yes.
        refused: how many were answered with no, or not at all: they may be there or not.
    """

    def __init__(self, post: Callable[[bytes], int], first: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[int] = []
        self.refused = 0
        self._post, self._number = post, first
        self._stopping = threading.Event()

    def run(self) -> None:
        """Send until told to stop."""
        while not self._stopping.wait(PAUSE_SECONDS):
            self._number += 1
            if self._post(numbered(self._number)) == 200:
                self.acknowledged.append(self._number)
            else:
                self.refused += 1

    def stop(self) -> None:
        """End after the request under way."""
        self._stopping.set()
        self.join()
