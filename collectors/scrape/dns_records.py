"""DNS discovery: targets from the records of names, asked for every ``refresh_interval``.

What answers mean is what they mean to Prometheus: a name that does not exist has no targets; when
no server knows for sure (it is silent, fails or refuses), the targets that were found last stay.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.IN.SRV import SRV

from collectors.scrape.config import DnsSd
from collectors.scrape.discovery import Tell, Trouble
from collectors.scrape.target import ADDRESS, Found
from pipeline.errors import InvalidInput, Transient

_META: Final = "__meta_dns_"
_SERVER_SECONDS: Final = 2.0
"""How long one server may take for one answer."""

_PAYLOAD: Final = 4096
"""Bytes of an answer over UDP; a longer one is asked for over TCP."""

_KNOWN: Final = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})
"""What a server answers that knows: what there is, or that there is nothing."""


class DnsUnclear(Transient):
    """No server says what a name has, or that there is no such name."""


def system_resolver() -> dns.resolver.Resolver:
    """The servers and search domains of the machine: ``/etc/resolv.conf``.

    Raises:
        DnsUnclear: there are none.
    """
    try:
        return dns.resolver.Resolver()
    except (dns.exception.DNSException, OSError) as problem:
        raise DnsUnclear(f"no resolv.conf that can be read: {problem}") from problem


class DnsDiscovery:
    """The targets that records of names tell of; each name is a source.

    Args:
        config: which names and records, and how often.
        resolver: whom to ask, found out anew each time.

    Raises:
        InvalidInput: one is no name of DNS.
    """

    def __init__(
        self, config: DnsSd, resolver: Callable[[], dns.resolver.Resolver] = system_resolver
    ) -> None:
        self._config = config
        self._resolver = resolver
        self._names = {name: _name(name) for name in config.names}
        self._troubles = {
            name: Trouble(f"the {config.type} records of {name}") for name in config.names
        }

    async def run(self, tell: Tell) -> None:
        """Tell what the names have, and again after every interval."""
        while True:
            await asyncio.gather(*(self._look(name, tell) for name in self._names))
            await asyncio.sleep(self._config.refresh_interval)

    async def _look(self, name: str, tell: Tell) -> None:
        try:
            answer = await lookup(self._names[name], self._config.type, self._resolver())
        except DnsUnclear as problem:
            self._troubles[name].say(problem)
        else:
            self._troubles[name].over()
            tell(name, list(self._found(name, answer)))

    def _found(self, name: str, answer: dns.message.Message | None) -> Iterator[Found]:
        kind = dns.rdatatype.from_text(self._config.type)
        for records in answer.answer if answer else ():
            for record in records if records.rdtype == kind else ():  # not a CNAME on the way
                host, port, told = _told_by(record, self._config.port)
                address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                labels = {_META + key: value for key, value in {"name": name, **told}.items()}
                yield Found({ADDRESS: address, **labels})


def _told_by(record: Rdata, port: int) -> tuple[str, int, dict[str, str]]:
    """Host and port that a record tells, and the rest of it by the ends of meta labels."""
    if isinstance(record, SRV):
        told = {"srv_record_target": str(record.target), "srv_record_port": str(record.port)}
        return str(record.target).rstrip("."), record.port, told
    if isinstance(record, MX):
        return str(record.exchange).rstrip("."), port, {"mx_record_target": str(record.exchange)}
    if isinstance(record, NS):
        return str(record.target).rstrip("."), port, {"ns_record_target": str(record.target)}
    return record.to_text(), port, {}


async def lookup(
    name: dns.name.Name, kind: str, resolver: dns.resolver.Resolver
) -> dns.message.Message | None:
    """The first answer for a name, or for it within a search domain; None when there is no such.

    Raises:
        DnsUnclear: nobody answered for one of them, and none of the others exists.
    """
    unclear: DnsUnclear | None = None
    for candidate in candidates(name, resolver):
        try:
            answer = await _asked(candidate, kind, resolver)
        except DnsUnclear as problem:
            unclear = problem
            continue
        if answer.rcode() == dns.rcode.NOERROR:
            return answer
    if unclear is not None:
        raise unclear
    return None


def candidates(name: dns.name.Name, resolver: dns.resolver.Resolver) -> list[dns.name.Name]:
    """The whole names that a name may be short for, in the order they are asked for."""
    if name.is_absolute():
        return [name]
    whole = name.concatenate(dns.name.root)
    searched = []
    for domain in resolver.search:
        try:
            searched.append(name.concatenate(domain))
        except dns.name.NameTooLong:
            continue
    dots_enough = len(name) > (1 if resolver.ndots is None else resolver.ndots)
    return [whole, *searched] if dots_enough else [*searched, whole]


async def _asked(
    name: dns.name.Name, kind: str, resolver: dns.resolver.Resolver
) -> dns.message.Message:
    """The answer of the first server that knows."""
    failures = []
    for server in map(str, resolver.nameservers):
        query = dns.message.make_query(name, kind, use_edns=0, payload=_PAYLOAD)
        try:
            answer, _ = await dns.asyncquery.udp_with_fallback(
                query,
                server,
                timeout=_SERVER_SECONDS,
                port=resolver.port,
                ignore_unexpected=True,
                ignore_errors=True,
            )
        except (dns.exception.DNSException, OSError, EOFError) as problem:
            failures.append(f"{server}: {str(problem) or type(problem).__name__}")
            continue
        if answer.rcode() in _KNOWN:
            return answer
        failures.append(f"{server} answered {dns.rcode.to_text(answer.rcode())}")
    raise DnsUnclear(f"{name}: {'; '.join(failures) or 'no server is named'}")


def _name(text: str) -> dns.name.Name:
    try:
        return dns.name.from_text(text, origin=None)
    except (dns.exception.DNSException, UnicodeError) as problem:
        raise InvalidInput(
            "dns_sd_configs.names", found=text, allowed=f"names of DNS: {problem}"
        ) from problem
