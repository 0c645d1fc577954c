"""Which jobs the settings ask for, and what finds the targets of each."""

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from collectors.room import Room
from collectors.scrape.access import TlsConfig
from collectors.scrape.config import (
    FileSd,
    HttpSd,
    KubernetesSd,
    Namespaces,
    ScrapeJob,
    StaticConfig,
    read_config,
    refusal,
)
from collectors.scrape.discovery import (
    Discovery,
    FileDiscovery,
    HttpDiscovery,
    StaticDiscovery,
)
from collectors.scrape.dns_records import DnsDiscovery
from collectors.scrape.kubernetes import KubernetesDiscovery
from collectors.settings import ScrapeSettings
from pipeline.errors import InvalidInput

SIMPLE_JOB: Final = "scrape"
"""Job of the targets that the settings name without a configuration file."""

PODS_JOB: Final = "kubernetes-pods"
"""Job of the pods that ``scrape_kubernetes`` finds."""

IN_CLUSTER: Final = "in-cluster"


def jobs_of(settings: ScrapeSettings) -> list[ScrapeJob]:
    """The jobs that the settings ask for.

    Raises:
        InvalidInput: a setting, or something in the configuration file, is not allowed.
    """
    jobs = [*_simple(settings), *_pods(settings)]
    if settings.config_file is not None:
        jobs.extend(read_config(settings.config_file))
    names = [job.job_name for job in jobs]
    for name in (SIMPLE_JOB, PODS_JOB):
        if names.count(name) > 1:
            raise InvalidInput(
                f"{settings.config_file}: job_name",
                found=name,
                allowed="another name: this one is that of the targets of scrape_* settings",
            )
    return jobs


def check_jobs(settings: ScrapeSettings) -> None:
    """Whether a scraper could begin.

    Raises:
        InvalidInput: it could not, and why.
    """
    nobody = Room(0, retry_after=0)
    for job in jobs_of(settings):
        discoveries_of(job, nobody)


def discoveries_of(job: ScrapeJob, room: Room) -> list[Discovery]:
    """What finds the targets of a job.

    Raises:
        InvalidInput: one of them cannot be here, as where there is no cluster around us.
    """
    return [
        *([StaticDiscovery(job.static_configs)] if job.static_configs else ()),
        *(FileDiscovery(config) for config in job.file_sd_configs),
        *(HttpDiscovery(config, room) for config in job.http_sd_configs),
        *(DnsDiscovery(config) for config in job.dns_sd_configs),
        *(
            KubernetesDiscovery(config, room, by_convention=not job.relabel_configs)
            for config in job.kubernetes_sd_configs
        ),
    ]


def _simple(settings: ScrapeSettings) -> Iterator[ScrapeJob]:
    if settings.targets or settings.files or settings.http_sd:
        yield ScrapeJob(
            job_name=SIMPLE_JOB,
            static_configs=(StaticConfig(targets=settings.targets),),
            file_sd_configs=(FileSd(files=settings.files),) if settings.files else (),
            http_sd_configs=tuple(_http_sd(url) for url in settings.http_sd),
        )


def _http_sd(url: str) -> HttpSd:
    try:
        return HttpSd(url=url)
    except ValidationError as problem:
        raise refusal(problem, "scrape_http_sd ") from None


def _pods(settings: ScrapeSettings) -> Iterator[ScrapeJob]:
    if not settings.kubernetes:
        return
    named = {} if settings.kubernetes == IN_CLUSTER else {"api_server": settings.kubernetes}
    try:
        pods = KubernetesSd(
            role="pod",
            namespaces=Namespaces(names=settings.kubernetes_namespaces),
            bearer_token_file=settings.kubernetes_token_file,
            tls_config=TlsConfig(ca_file=settings.kubernetes_ca_file),
            **named,
        )
    except ValidationError as problem:
        raise refusal(problem, "scrape_kubernetes ") from None
    yield ScrapeJob(job_name=PODS_JOB, kubernetes_sd_configs=(pods,))
