"""Every receiver, by name; adding one is adding a line."""

from collections.abc import Callable, Mapping
from typing import Final

from collectors.intake import Intake
from collectors.listen import Guard
from collectors.receive.otlp_grpc import OtlpGrpcReceiver
from collectors.receive.otlp_http import OtlpHttpReceiver
from collectors.receiver import Receiver
from collectors.settings import CollectorSettings

Build = Callable[[Intake, CollectorSettings, Guard], Receiver | None]
"""Makes a receiver out of the settings; None where they turn it off."""


def _otlp_grpc(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
    if not settings.otlp_grpc.address:
        return None
    return OtlpGrpcReceiver(intake, settings.otlp_grpc, settings.envoy_als, guard)


def _otlp_http(intake: Intake, settings: CollectorSettings, guard: Guard) -> Receiver | None:
    if not settings.otlp_http.address:
        return None
    return OtlpHttpReceiver(intake, settings.otlp_http, guard)


def _scrape(intake: Intake, settings: CollectorSettings, _guard: Guard) -> Receiver | None:
    if not settings.scrape.asked_for:
        return None
    # half a second of imports that a process without targets need not pay
    from collectors.scrape.scraper import Scraper  # noqa: PLC0415

    return Scraper(intake, settings.scrape)


RECEIVERS: Final[Mapping[str, Build]] = {
    "otlp_grpc": _otlp_grpc,
    "otlp_http": _otlp_http,
    "scrape": _scrape,
}
