"""Every receiver, by name; adding one is adding a line."""

from collections.abc import Callable, Mapping
from typing import Final

from collectors.intake import Intake
from collectors.json_webhook import JsonWebhookReceiver, Webhook
from collectors.listen import Guard
from collectors.receive.apigee_http import APIGEE_HTTP
from collectors.receive.envoy_als import access_logs
from collectors.receive.envoy_metrics import metrics
from collectors.receive.firehose import FirehoseReceiver, access_guard
from collectors.receive.kong_http_log import KONG_HTTP_LOG
from collectors.receive.otlp_grpc import OtlpGrpcReceiver
from collectors.receive.otlp_http import OtlpHttpReceiver
from collectors.receive.remote_write import RemoteWriteReceiver
from collectors.receive.syslog import SyslogReceiver, tls_of
from collectors.receive.tail import TailReceiver
from collectors.receive.zipkin import ZipkinReceiver
from collectors.receiver import Receiver
from collectors.settings import CollectorSettings, HttpSettings

Build = Callable[[Intake, CollectorSettings, Guard], Receiver | None]
"""Makes a receiver out of the settings; None where they turn it off."""


def _otlp_grpc(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
    if not settings.otlp_grpc.address:
        return None
    streams = [access_logs(settings.envoy_als)]
    if settings.envoy_metrics.enabled:
        streams.append(metrics(settings.envoy_metrics))
    return OtlpGrpcReceiver(intake, settings.otlp_grpc, streams, guard)


def _otlp_http(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
    if not settings.otlp_http.address:
        return None
    return OtlpHttpReceiver(intake, settings.otlp_http, guard)


def _zipkin(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
    return ZipkinReceiver(intake, settings.zipkin, guard) if settings.zipkin.address else None


def _remote_write(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
    if not settings.remote_write.address:
        return None
    return RemoteWriteReceiver(intake, settings.remote_write, guard)


def _apigee_syslog(intake: Intake, settings: CollectorSettings, _: Guard) -> Receiver | None:
    syslog = settings.apigee_syslog
    return SyslogReceiver(intake, syslog) if syslog.address else None


def _tail(intake: Intake, settings: CollectorSettings, _: Guard) -> Receiver | None:
    return TailReceiver(intake, settings.tail) if settings.tail.paths else None


def _firehose(intake: Intake, settings: CollectorSettings, _: Guard) -> Receiver | None:
    if not settings.firehose.address:
        return None
    guard = access_guard(settings.firehose, settings.intake)
    return FirehoseReceiver(intake, settings.firehose, guard)


def _webhook(webhook: Webhook) -> Build:
    def build(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
        section: HttpSettings = getattr(settings, webhook.source)
        if not section.address:
            return None
        return JsonWebhookReceiver(webhook, intake, section, guard)

    return build


def _scrape(intake: Intake, settings: CollectorSettings, _guard: Guard) -> Receiver | None:
    if not settings.scrape.asked_for:
        return None
    # half a second of imports that a process without targets need not pay
    from collectors.scrape.scraper import Scraper  # noqa: PLC0415

    return Scraper(intake, settings.scrape)


RECEIVERS: Final[Mapping[str, Build]] = {
    "otlp_grpc": _otlp_grpc,
    "otlp_http": _otlp_http,
    "zipkin": _zipkin,
    "apigee_syslog": _apigee_syslog,
    "tail": _tail,
    "firehose": _firehose,
    KONG_HTTP_LOG.source: _webhook(KONG_HTTP_LOG),
    APIGEE_HTTP.source: _webhook(APIGEE_HTTP),
    "scrape": _scrape,
    "remote_write": _remote_write,
}


def check(settings: CollectorSettings) -> None:
    """Read the files that receivers cannot begin without, before anything listens.

    Raises:
        InvalidInput: one cannot be read, or says something that is not allowed.
    """
    if settings.apigee_syslog.address:
        tls_of(settings.apigee_syslog)
    if settings.scrape.asked_for:
        from collectors.scrape.jobs import check_jobs  # noqa: PLC0415 - half a second, as above

        check_jobs(settings.scrape)
