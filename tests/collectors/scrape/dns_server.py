"""A small server of DNS, over UDP and TCP, that answers what it is told to."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset

SILENT = "silent"
"""Instead of records: no answer at all."""

LONGEST_DATAGRAM = 1232


@dataclass
class DnsServer:
    """A running server.

    Attributes:
        port: where it listens, of both protocols.
        records: of each name and type the records as text, an rcode, or ``SILENT``; a name that is
            not there does not exist.
        asked: the questions so far, ``name type protocol``.
    """

    port: int = 0
    records: dict[tuple[str, str], list[str] | dns.rcode.Rcode | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def resolver(
        self, *servers: str, search: tuple[str, ...] = (), ndots: int = 1
    ) -> dns.resolver.Resolver:
        """What ``resolv.conf`` would say that names this server."""
        told = dns.resolver.Resolver(configure=False)
        told.nameservers = list(servers or ("127.0.0.1",))
        told.port = self.port
        told.search = [dns.name.from_text(domain) for domain in search]
        told.ndots = ndots
        return told

    def answer(self, wire: bytes, protocol: str) -> bytes | None:
        """The answer to a query."""
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name, kind = question.name.to_text(), question.rdtype.name
        self.asked.append(f"{name} {kind} {protocol}")
        known = self.records.get((name, kind))
        if known == SILENT:
            return None
        response = dns.message.make_response(query)
        if known is None:
            exists = any(name == other for other, _ in self.records)
            response.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
        elif isinstance(known, dns.rcode.Rcode):
            response.set_rcode(known)
        else:
            for line in known:
                response.answer.append(dns.rrset.from_text(name, 5, "IN", *line.split(" ", 1)))
        told = response.to_wire(max_size=65_535)
        if protocol == "UDP" and len(told) > LONGEST_DATAGRAM:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()
        return told

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one query over TCP."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            told = self.answer(await reader.readexactly(size), "TCP")
            if told is not None:
                writer.write(struct.pack("!H", len(told)) + told)
                await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one query."""
        told = self._server.answer(data, "UDP")
        if told is not None:
            self._transport.sendto(told, addr)


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """A running server on a free port."""
    server = DnsServer()
    listening = await asyncio.start_server(server.converse, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server), local_addr=("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        transport.close()
        listening.close()
        await asyncio.sleep(0.01)
