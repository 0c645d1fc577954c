"""Syslog over TCP, with or without TLS: what MessageLogging of Apigee sends.

Syslog has no answer. A connection is read no further while the bus takes nothing, so that its
sender's buffers fill; what was read goes on the bus, several messages together. What a sender wrote
into a connection that was never read is lost when either side closes it, and nobody can count it.
"""

import asyncio
import contextlib
import logging
import math
import ssl
from typing import Final

from collectors.batches import Batches
from collectors.intake import Channel, Intake
from collectors.listen import bind, is_loopback, join_address, split_address
from collectors.settings import ApigeeSyslogSettings
from collectors.syslog_frames import BadFrame, Frames, message_of
from collectors.tls import server_context
from pipeline.errors import InvalidInput
from pipeline.model.ledger import Outcome
from pipeline.model.topics import APIGEE_FORMAT, RAW_TELEMETRY

SOURCE: Final = "apigee_syslog"
FIELD: Final = "apigee_syslog_address"

_READ: Final = 64 * 1024
_HANDSHAKE_SECONDS: Final = 15.0
_LAST_WORDS_SECONDS: Final = 0.1
"""When stopping: how long a quiet connection is still listened to, for what is on its way."""

_CHANNEL: Final = Channel(
    SOURCE,
    APIGEE_FORMAT,
    RAW_TELEMETRY,
    patience=math.inf,
    lost=Outcome.DROPPED,
    keeps_bad=True,
)

_log = logging.getLogger(__name__)


def tls_of(settings: ApigeeSyslogSettings) -> ssl.SSLContext | None:
    """The TLS that is spoken with senders; None where it is plain TCP.

    Raises:
        InvalidInput: a file cannot be read, or is not what it should be.
    """
    if settings.certificate_file is None or settings.key_file is None:
        return None
    return server_context(
        settings.certificate_file, settings.key_file, settings.client_ca_file, field=SOURCE
    )


class SyslogReceiver:
    """Takes syslog over TCP on one address.

    Args:
        intake: where messages go.
        settings: the address, TLS, and the limits.
    """

    def __init__(self, intake: Intake, settings: ApigeeSyslogSettings) -> None:
        self._intake = intake
        self._settings = settings
        self._address = settings.address or ""
        self._batches = Batches(
            intake, _CHANNEL, seconds=settings.batch_seconds, size=settings.batch_bytes
        )
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._address

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidInput: the address cannot be had or is not safe, or a file of TLS is not good.
        """
        host, port = self._checked_address()
        context = tls_of(self._settings)
        await self._intake.warm_up(APIGEE_FORMAT)
        listener = bind(host, port, field=FIELD)
        self._address = join_address(*listener.getsockname()[:2])
        self._stopping.clear()
        self._batches.start()
        self._server = await asyncio.start_server(
            self._serve,
            sock=listener,
            limit=_READ,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
        )
        how = "TLS" if context else "TCP"
        _log.info("syslog of Apigee is taken on %s over %s", self._address, how)

    async def stop(self) -> None:
        """Take no new connection, read what is on its way, bring it to the bus. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._stopping.set()
        closing = asyncio.ensure_future(self._close())
        done, _ = await asyncio.wait({closing}, timeout=self._settings.drain_seconds)
        if not done:
            await self._batches.give_up()
        await closing
        self._server = None

    async def _close(self) -> None:
        if self._connections:
            await asyncio.wait(self._connections)
        await self._batches.close()

    def _checked_address(self) -> tuple[str, int]:
        settings = self._settings
        host, port = split_address(settings.address or "", field=FIELD)
        if not (is_loopback(host) or settings.client_ca_file or settings.any_sender):
            raise InvalidInput(
                FIELD,
                found=settings.address,
                allowed="a loopback address such as 127.0.0.1; or any, once senders must show a"
                " certificate (apigee_syslog_client_ca_file), or when apigee_syslog_any_sender"
                " says that whoever reaches it may send",
            )
        return host, port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        if serving is None or len(self._connections) >= self._settings.max_connections:
            _log.warning("a connection is closed: %d are open already", len(self._connections))
            writer.close()
            return
        self._connections.add(serving)
        try:
            await self._take(reader)
        finally:
            self._connections.discard(serving)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        """Take frame after frame, until the connection ends or this receiver stops."""
        frames = Frames(self._settings.max_frame_bytes)
        while data := await self._read(reader):
            for frame in frames.feed(data):
                await self._add(frame)
        for frame in frames.end():
            await self._add(frame)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """The next bytes; none when the connection has ended, is idle, or is to end."""
        reading = asyncio.ensure_future(reader.read(_READ))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {reading, stopping},
                timeout=self._settings.idle_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not reading.done() and stopping.done():
                await asyncio.wait({reading}, timeout=_LAST_WORDS_SECONDS)
            return reading.result() if reading.done() else b""
        except OSError:  # such as a reset; what came before it was taken
            return b""
        finally:
            reading.cancel()
            stopping.cancel()

    async def _add(self, frame: bytes | BadFrame) -> None:
        if isinstance(frame, BadFrame):
            self._intake.dropped(_CHANNEL, 1, f"malformed: {frame.reason}")
            return
        message = message_of(frame)
        if message:
            await self._batches.add(message)
        else:
            self._intake.dropped(_CHANNEL, 1, "malformed: no message")
