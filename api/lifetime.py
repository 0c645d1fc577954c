"""The life of a process: until all is there, until it is asked to stop, until all is closed."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, TextIO

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
LINES: Final = {
    "api": "API {}",
    "otlp_grpc": "OTLP/gRPC {}",
    "otlp_http": "OTLP/HTTP http://{}",
    "zipkin": "Zipkin http://{}",
    "apigee_syslog": "Syslog of Apigee {}",
    "tail": "Files {}",
    "firehose": "Amazon Data Firehose http://{}/firehose",
    "kong_http_log": "Kong's http-log http://{}/kong",
    "apigee_http": "Apigee http://{}/apigee",
    "scrape": "scraping for {}",
}
"""What is printed of a listener, by its name."""


class Stop:
    """The wish to stop, as signals tell it: once to drain, a second Ctrl-C to end at once."""

    def __init__(self) -> None:
        self.code = 0
        self._asked = asyncio.Event()

    def listen(self) -> None:
        """Take over SIGINT and SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._ask, INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, self._ask, 0)

    def _ask(self, code: int) -> None:
        if self._asked.is_set():
            if code == INTERRUPTED:
                os._exit(INTERRUPTED)
            return
        self.code = code
        self._asked.set()
        log.info("stopping; Ctrl-C ends at once")

    async def wait(self) -> None:
        """Return when somebody asked to stop."""
        await self._asked.wait()


async def live(process: AbstractAsyncContextManager[Mapping[str, str]], out: TextIO) -> int:
    """Run a process until it is told to stop.

    Args:
        process: opens and closes its parts; gives each listener's name and address.
        out: gets one line per listener, once all listen.

    Returns:
        The exit code: 0 after SIGTERM, 130 after Ctrl-C.

    Raises:
        MeshweirError: something cannot be opened or listened on.
    """
    stop, started = Stop(), asyncio.Event()
    stop.listen()

    async def work() -> None:
        async with process as addresses:
            started.set()
            announce(addresses, out)
            await stop.wait()

    working = asyncio.create_task(work())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not started.is_set():
        # it may wait long for another process, such as a database
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return stop.code


def announce(addresses: Mapping[str, str], out: TextIO) -> None:
    """One line per listener."""
    lines = (LINES.get(name, name + " {}").format(address) for name, address in addresses.items())
    out.writelines(f"{line}\n" for line in lines)
    out.flush()
