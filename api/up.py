"""``meshweir up``: everything in one process, until it is told to stop."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from typing import Final, TextIO

from api.process import everything
from api.settings import Settings

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
LINES: Final = {
    "api": "API {}",
    "otlp_grpc": "OTLP/gRPC {}",
    "otlp_http": "OTLP/HTTP http://{}",
}
"""What is printed of a listener, by its name."""


class Stop:
    """The wish to stop, as signals tell it: once to drain, a second Ctrl-C to end at once."""

    def __init__(self) -> None:
        self.code = 0
        self._asked = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

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


async def up(settings: Settings, out: TextIO) -> int:
    """Run everything; one line per listener goes to ``out`` once all is ready.

    Returns:
        The exit code: 0 after SIGTERM, 130 after Ctrl-C.

    Raises:
        MeshweirError: something cannot be opened or listened on.
    """
    stop = Stop()
    stop.listen()
    running = asyncio.create_task(_run(settings, stop, out))
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    await running
    return stop.code


async def _run(settings: Settings, stop: Stop, out: TextIO) -> None:
    async with everything(settings) as addresses:
        announce(addresses, out)
        await stop.wait()


def announce(addresses: Mapping[str, str], out: TextIO) -> None:
    """One line per listener."""
    lines = (LINES.get(name, name + " {}").format(address) for name, address in addresses.items())
    out.writelines(f"{line}\n" for line in lines)
    out.flush()
