"""Targets: what is scraped, made out of what discovery found and what its job says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

import xxhash

from collectors.scrape.config import ScrapeJob
from collectors.scrape.quantities import seconds_of
from collectors.scrape.relabel import relabelled
from pipeline.errors import InvalidInput

ADDRESS: Final = "__address__"
SCHEME: Final = "__scheme__"
PATH: Final = "__metrics_path__"
INTERVAL: Final = "__scrape_interval__"
TIMEOUT: Final = "__scrape_timeout__"
PARAMETER: Final = "__param_"

SERVICE: Final = "service.name"
INSTANCE: Final = "service.instance.id"

_MEANT_OTHERWISE: Final = frozenset({"job", "instance"})
"""Labels that have names of their own as resource attributes."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Found:
    """Something that discovery found.

    Attributes:
        labels: Prometheus' labels of it, ``__address__`` among them.
        resource: what else is known, by OpenTelemetry's names.
    """

    labels: Mapping[str, str]
    resource: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One exposition to ask for, again and again.

    Attributes:
        job: name of its job.
        instance: what it is called among those of its job.
        url: where it is asked.
        interval: seconds from one scrape to the next.
        timeout: seconds that one may take.
        resource: its resource attributes; sorted, so that equal targets are equal.
        labels: those that Prometheus would give to all of its samples, sorted, too.
    """

    job: str
    instance: str
    url: str
    interval: float
    timeout: float
    resource: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def shown(self) -> str:
        """The URL for people and logs: a query may hold a secret."""
        return self.url.partition("?")[0]

    def seconds_to_next(self, now: float) -> float:
        """Seconds from ``now``, in Unix seconds, to its next turn.

        Each target has a place of its own in the interval, the same after every start, so that
        many targets are not asked all at once.
        """
        place = xxhash.xxh3_64_intdigest(repr(self).encode()) / 2**64
        return math.fmod(place * self.interval - now, self.interval) % self.interval


def target_of(found: Found, job: ScrapeJob, *, interval: float, timeout: float) -> Target | None:
    """The target that a job makes of what was found; None when its rules drop it.

    Args:
        found: what was found.
        job: its job.
        interval: seconds between scrapes, where job and labels say nothing.
        timeout: seconds of a scrape, likewise.

    Raises:
        InvalidInput: it cannot be scraped: no address, or values that are not allowed.
    """
    labels = relabelled(_complete(found.labels, job), job.relabel_configs)
    if labels is None:
        return None
    url = _url(labels, job)
    parts = urlsplit(url)
    every = _seconds(labels, INTERVAL, job.scrape_interval or interval)
    longest = _seconds(labels, TIMEOUT, job.scrape_timeout or min(timeout, every))
    if longest > every:
        raise InvalidInput(TIMEOUT, found=longest, allowed=f"at most the interval, {every:g} s")
    told = {name: value for name, value in labels.items() if not name.startswith("__")}
    told = {"job": job.job_name, "instance": labels[ADDRESS]} | told
    resource = {
        "url.scheme": parts.scheme,
        "server.address": str(parts.hostname),
        "server.port": str(parts.port or _PORTS[parts.scheme]),
        **found.resource,
        **{name: value for name, value in told.items() if name not in _MEANT_OTHERWISE},
        INSTANCE: told["instance"],
        SERVICE: _service(found, told["job"], job),
    }
    return Target(
        job=told["job"],
        instance=told["instance"],
        url=url,
        interval=every,
        timeout=longest,
        resource=tuple(sorted(resource.items())),
        labels=tuple(sorted(told.items())),
    )


def address_labels(text: str) -> dict[str, str]:
    """The labels of a target that a person wrote: ``HOST:PORT``, or a whole URL.

    Raises:
        InvalidInput: it is neither, or has credentials in it.
    """
    if "://" not in text:
        return {ADDRESS: text}
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.netloc or "@" in parts.netloc:
        raise InvalidInput(
            "target",
            found=f"{parts.scheme}://...",
            allowed="HOST:PORT or a URL of http or https without credentials; those belong into "
            "files that scrape_config_file names",
        )
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return {ADDRESS: parts.netloc, SCHEME: parts.scheme, **({PATH: path} if path != "/" else {})}


def told_of(address: str) -> str:
    """An address for people and logs: credentials in front of a host are left out."""
    return address.rpartition("@")[2]


def _complete(labels: Mapping[str, str], job: ScrapeJob) -> dict[str, str]:
    """What was found, and from the job what it does not say itself."""
    parameters = {PARAMETER + name: values[0] for name, values in job.params.items() if values}
    defaults = {"job": job.job_name, SCHEME: job.scheme, PATH: job.metrics_path, **parameters}
    return defaults | {name: value for name, value in labels.items() if value}


def _url(labels: Mapping[str, str], job: ScrapeJob) -> str:
    address, scheme, path = labels.get(ADDRESS, ""), labels.get(SCHEME, ""), labels.get(PATH, "")
    if scheme not in _PORTS:
        raise InvalidInput(SCHEME, found=scheme, allowed="http or https")
    url = f"{scheme}://{address}/{path.removeprefix('/')}"
    if not _is_address(address) or not _is_url(url):
        raise InvalidInput(ADDRESS, found=told_of(address), allowed="HOST or HOST:PORT")
    query = parse_qs(urlsplit(url).query, keep_blank_values=True)
    query |= {name: list(values) for name, values in job.params.items()}
    for name, value in labels.items():
        if name.startswith(PARAMETER):
            query.setdefault(name.removeprefix(PARAMETER), [""])[0] = value
    encoded = urlencode(query, doseq=True)
    return url.partition("?")[0] + (f"?{encoded}" if encoded else "")


def _is_address(text: str) -> bool:
    return bool(text) and not any(sign in text for sign in "/@?#\\ \t\r\n")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _seconds(labels: Mapping[str, str], name: str, otherwise: float) -> float:
    try:
        seconds = seconds_of(labels[name]) if name in labels else otherwise
    except ValueError as problem:
        raise InvalidInput(name, found=labels[name], allowed=str(problem)) from None
    if not isinstance(seconds, float | int) or seconds <= 0:
        raise InvalidInput(name, found=seconds, allowed="a duration that is not nothing")
    return float(seconds)


def _service(found: Found, told: str, job: ScrapeJob) -> str:
    """The job; but where a pod says which service it is and no rule says else, what it says."""
    return found.resource.get(SERVICE, told) if told == job.job_name else told
