"""One target, scrape by scrape: what is on the bus, what has ended, and what is counted."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from collectors.intake import Intake
from collectors.scrape.access import Access
from collectors.scrape.config import ScrapeJob
from collectors.scrape.fetch import Fetcher
from collectors.scrape.loop import TargetLoop
from collectors.scrape.target import Target
from collectors.scrape.terms import terms_of
from collectors.scrape.turnstile import Turnstile
from collectors.settings import IntakeSettings, ScrapeSettings
from pipeline.bus.settings import EmbeddedBusSettings
from pipeline.decode import DECODERS
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Message, Partition
from pipeline.model.scrape import Scrape
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import GatedBus
from tests.collectors.scrape.exposer import Exposer, answer, exposing, silence

pytestmark = pytest.mark.anyio

FLOW = Flow("scrape", "metric_points")
LABELS = (("instance", "one"), ("job", "shop"))
RESOURCE = (("service.instance.id", "one"), ("service.name", "shop"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Desk:
    """A target's loop, the server it asks, and what stands behind it."""

    server: Exposer
    loop: TargetLoop
    bus: GatedBus
    ledger: Ledger

    async def messages(self) -> list[Message]:
        """What is on the bus."""
        found = await self.bus.read({}, max_bytes=1 << 40, wait=0)
        return [message for message in found if message.partition == Partition(RAW_TELEMETRY)]

    async def last(self) -> tuple[Scrape, bytes]:
        """What the last message tells of its scrape, and the rest of it."""
        head, _, rest = (await self.messages())[-1].value.partition(b"\n")
        return Scrape.of(head), rest

    async def rows(self) -> list[dict[str, object]]:
        """The rows of the last message, without what is null."""
        message = (await self.messages())[-1]
        decoded = DECODERS[message.headers["format"]]([message.value])
        assert decoded.refused == ()
        rows = decoded.batches["metric_points"].to_pylist()
        return [{k: v for k, v in row.items() if v is not None} for row in rows]

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped, by reason."""
        reasons = self.ledger.snapshot()[FLOW].reasons if self.ledger.snapshot() else {}
        return {why: n for (outcome, why), n in reasons.items() if outcome is Outcome.DROPPED}

    def count(self, outcome: Outcome) -> int:
        """Records by outcome."""
        return self.ledger.snapshot()[FLOW].outcomes.get(outcome, 0)


@asynccontextmanager
async def desk(
    directory: Path,
    *,
    bus: dict[str, object] | None = None,
    intake: dict[str, object] | None = None,
    interval: float = 15.0,
    max_body_bytes: int = 100_000,
    **says: object,
) -> AsyncIterator[Desk]:
    """A loop whose job says these things."""
    job = ScrapeJob.model_validate({"job_name": "shop"} | says)
    limits = ScrapeSettings(max_samples=1000, max_body_bytes=max_body_bytes)
    settings = EmbeddedBusSettings.model_validate({"min_free_bytes": 0} | (bus or {}))
    gated = GatedBus(directory, settings)
    await gated.start()
    ledger = Ledger()
    fetcher = Fetcher(Access(), max_body_bytes=max_body_bytes, connections=4)
    async with exposing() as server:
        url = f"{server.url}/metrics?k=s3cret"
        target = Target("shop", "one", url, interval, 1, RESOURCE, LABELS)
        loop = TargetLoop(
            target,
            fetcher,
            Intake(gated, ledger, IntakeSettings.model_validate(intake or {})),
            Turnstile(2),
            terms_of(job, target, limits),
        )
        yield Desk(server, loop, gated, ledger)
    gated.gate.set()
    await fetcher.close()
    await gated.stop()


async def test_the_body_is_on_the_bus_as_it_came_behind_a_line_about_it(tmp_path: Path) -> None:
    body = b'# HELP a of things\n# TYPE a counter\na{x="1"} 1\nb 2 1700000000000\n'
    async with desk(tmp_path) as at:
        at.server.exposes(body)
        await at.loop.scrape()
        (message,) = await at.messages()
        assert message.headers["format"] == "prometheus_text"
        assert message.headers["source"] == "scrape"
        assert int(message.headers["received_at"]) > 1_700_000_000_000_000_000
        about, rest = await at.last()
        assert rest == body
        assert about.up
        assert about.resource == dict(RESOURCE)
        assert abs(about.at_ms / 1000 - at.loop.standing.scraped_at) < 0.01
        assert 0 < about.duration_seconds < 5
        assert at.count(Outcome.ACCEPTED) == 2 + 3  # and what tells of the scrape
        asked = at.server.asked[0].headers
        assert asked["accept"] == (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        )
        assert asked["x-prometheus-scrape-timeout-seconds"] == "1"
        assert asked["user-agent"] == "Meshweir"


async def test_the_rows_are_those_of_the_target(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(b'# TYPE a counter\na{x="1"} 7\n')
        await at.loop.scrape()
        rows = {row["name"]: row for row in await at.rows()}
        assert rows["a"]["type"] == "sum"
        assert rows["a"]["value"] == 7
        assert rows["up"]["value"] == 1
        assert rows["scrape_samples_scraped"]["value"] == 1
        assert len({row["resource_id"] for row in rows.values()}) == 1


@pytest.mark.parametrize(
    ("content_type", "body", "format_name"),
    [
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", b"a 1\n# EOF\n",
         "openmetrics_text"),
        ("text/plain; version=0.0.4; charset=utf-8; escaping=underscores", b"a 1\n",
         "prometheus_text"),
        ("TEXT/PLAIN", b"a 1\n", "prometheus_text"),
        ("", b"a 1\n", "prometheus_text"),
    ],
)  # fmt: skip
async def test_the_format_is_that_of_the_content_type(
    tmp_path: Path, content_type: str, body: bytes, format_name: str
) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(body, content_type=content_type)
        await at.loop.scrape()
        (message,) = await at.messages()
        assert message.headers["format"] == format_name
        assert message.value.endswith(body)
        assert at.loop.standing.up


async def test_a_packed_body_is_on_the_bus_unpacked(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(gzip.compress(b"a 1\n"), content_encoding="gzip")
        await at.loop.scrape()
        assert (await at.last())[1] == b"a 1\n"


async def test_a_series_that_vanishes_has_ended_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(b"# TYPE a counter\na 1\nb 1\n")
        await at.loop.scrape()
        at.server.exposes(b"b 2")
        await at.loop.scrape()
        assert (await at.last())[1] == b"b 2\n# TYPE a counter\n# meshweir stale a\n"
        stale = [row for row in await at.rows() if row.get("flags")]
        assert [(row["name"], row["type"], row["flags"]) for row in stale] == [("a", "sum", 1)]
        await at.loop.scrape()
        assert (await at.last())[1] == b"b 2\n"


async def test_a_scrape_that_fails_ends_all_series_and_says_so(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(b"# TYPE a counter\na 1\nb 1\n# EOF\n",
                          content_type="application/openmetrics-text")  # fmt: skip
        await at.loop.scrape()
        at.server.answers["/metrics"] = answer(b"", status=503)
        await at.loop.scrape()
        about, rest = await at.last()
        assert not about.up
        assert rest == b"# TYPE a counter\n# meshweir stale a\n# meshweir stale b\n"
        rows = await at.rows()
        assert {row["name"]: row.get("value") for row in rows if not row["flags"]} == {
            "up": 0, "scrape_duration_seconds": about.duration_seconds,
            "scrape_samples_scraped": 0,
        }  # fmt: skip
        assert sorted(row["name"] for row in rows if row["flags"] == 1) == ["a", "b"]
        assert at.loop.standing.error == "the server answered with status 503"
        await at.loop.scrape()
        assert (await at.last())[1] == b""
        assert at.dropped == {}


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"a 1\n" * 30_000, {}, "too large"),
        (b"<html>", {"content_type": "text/html"}, "content type"),
        (b"".join(b"a%d 1\n" % n for n in range(1001)), {}, "too many samples"),
        (b"a 1\n", {"content_encoding": "br"}, "content encoding"),
        (b"a 1\n", {"content_type": "application/openmetrics-text"},
         "malformed: the text ends before its # EOF"),
    ],
    ids=["size", "type", "samples", "encoding", "cut"],
)  # fmt: skip
async def test_what_is_not_taken_is_counted_with_its_reason(
    tmp_path: Path, body: bytes, headers: dict[str, str], reason: str
) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(body, **headers)
        await at.loop.scrape()
        about, rest = await at.last()
        assert (about.up, rest) == (False, b"")
        assert at.dropped == {reason: 1}
        assert at.loop.standing.error


async def test_a_line_that_cannot_be_read_is_counted_and_the_others_are_kept(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(b"a 1\nb one\nc 1\n")
        await at.loop.scrape()
        assert sum(at.dropped.values()) == 1
        assert at.count(Outcome.ACCEPTED) == 5
        assert at.loop.standing.up


async def test_a_scrape_larger_than_a_message_is_cut_and_told_once(tmp_path: Path) -> None:
    async with desk(tmp_path, bus={"max_message_bytes": 20_000}) as at:
        lines = b"".join(b'a{series="%d"} 1\n' % number for number in range(990))
        at.server.exposes(b"# TYPE a counter\n" + lines)
        await at.loop.scrape()
        assert at.loop.standing.up
        messages = await at.messages()
        assert len(messages) == 2
        decoded = DECODERS["prometheus_text"]([message.value for message in messages])
        rows = decoded.batches["metric_points"].to_pylist()
        assert len([row for row in rows if row["name"] == "a"]) == 990
        assert [row["value"] for row in rows if row["name"] == "scrape_samples_scraped"] == [990]
        assert at.count(Outcome.ACCEPTED) == 993


async def test_secrets_in_labels_never_reach_the_bus(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.server.exposes(b'a{api_key="s3cret-of-a-consumer",x="y"} 1\n')
        for _ in range(2):
            await at.loop.scrape()
            at.server.exposes(b"b 1\n")
        values = b"".join(message.value for message in await at.messages())
        assert b"# meshweir stale a{" in values
        assert b"s3cret" not in values


async def test_a_target_that_is_silent_fails_in_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.server.answers["/metrics"] = silence
        await at.loop.scrape()
        about, _ = await at.last()
        assert not about.up
        assert 1 <= about.duration_seconds < 5
        assert at.loop.standing.error == "no answer within 1 s"


async def test_an_ended_target_ends_with_all_that_was_told_of_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.loop.end()
        assert await at.messages() == []
        at.server.exposes(b"a 1\n")
        await at.loop.scrape()
        await at.loop.end()
        rows = await at.rows()
        assert sorted(row["name"] for row in rows) == [
            "a", "scrape_duration_seconds", "scrape_samples_scraped", "up",
        ]  # fmt: skip
        assert all(row["flags"] == 1 and "value" not in row for row in rows)


async def test_while_the_bus_is_full_scrapes_are_skipped_and_counted(tmp_path: Path) -> None:
    limits = {"max_bytes": 70_000, "retry_after_seconds": 60}
    async with desk(tmp_path, bus=limits) as at:
        at.server.exposes(b"".join(b"a%d 1\n" % n for n in range(1000)))
        for _ in range(20):
            await at.loop.scrape()
        taken = len(await at.messages())
        assert 0 < taken < 10
        assert len(at.server.asked) == taken + 1  # the one that met a full bus shut the door
        assert set(at.dropped) == {"bus full"}
        assert at.dropped["bus full"] == 1003 + (20 - taken - 1)


async def test_series_that_ended_while_the_bus_was_full_are_told_when_it_is_not(
    tmp_path: Path,
) -> None:
    limits = {"max_bytes": 70_000, "retry_after_seconds": 0.01}
    async with desk(tmp_path, bus=limits) as at:
        at.server.exposes(b"gone 1\n" + b"# " + b"x" * 60_000 + b"\n")
        await at.loop.scrape()
        at.server.exposes(b"a 1\n" + b"# " + b"x" * 60_000 + b"\n")
        await at.loop.scrape()
        assert set(at.dropped) == {"bus full"}
        await at.bus.consumed({Partition(RAW_TELEMETRY): 1})
        await asyncio.sleep(0.05)
        at.server.exposes(b"a 2\n")
        await at.loop.scrape()
        assert (await at.last())[1] == b"a 2\n# meshweir stale gone\n"


async def test_without_room_a_scrape_is_counted_as_dropped(tmp_path: Path) -> None:
    async with desk(tmp_path, intake={"max_in_flight_bytes": 1024}) as at:
        at.server.exposes(b"a 1\n" * 1000)
        with at.loop._intake.room.claim() as other:
            other.grow(1000)
            await at.loop.scrape()
        assert at.dropped == {"too much under way": 1}
        await at.loop.scrape()
        assert at.loop.standing.up
        assert at.loop._intake.room.used == 0


async def test_what_changes_is_logged_once_and_without_the_query(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as at:
        with caplog.at_level(logging.INFO):
            for _ in range(3):
                await at.loop.scrape()
            at.server.exposes(b"a 1\n")
            for _ in range(3):
                await at.loop.scrape()
        told = [(one.levelname, one.message) for one in caplog.records]
        where = f"{at.server.url}/metrics of job shop"
        assert told == [
            ("WARNING", f"{where}: the server answered with status 404"),
            ("INFO", f"{where} is up"),
        ]
        assert "s3cret" not in caplog.text


async def test_turns_that_pass_during_a_slow_scrape_are_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, interval=0.2) as at:
        at.server.answers["/metrics"] = silence  # given up after a second
        running = asyncio.create_task(at.loop.run())
        while at.loop.standing.up is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        at.loop.stop()
        await running
        assert at.dropped["the scrape before took too long"] >= 3


async def test_stopping_finishes_the_scrape_under_way(tmp_path: Path) -> None:
    async with desk(tmp_path, interval=0.2) as at:
        at.server.exposes(b"a 1\n")
        at.bus.gate.clear()
        running = asyncio.create_task(at.loop.run())
        while not at.bus.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        at.loop.stop()
        await asyncio.sleep(0.05)
        assert not running.done()
        at.bus.gate.set()
        await running
        assert len(await at.messages()) == 1


UNPOD = {"metric_relabel_configs": [{"regex": "pod", "action": "labeldrop"}]}
DROP = {"metric_relabel_configs": [
    {"source_labels": ["__name__"], "regex": "b.*", "action": "drop"},
    {"source_labels": ["__name__"], "regex": "up", "action": "drop"},
]}  # fmt: skip


async def test_what_rules_drop_is_not_on_the_bus_and_what_is_told_of_the_scrape_is(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, **DROP) as at:
        at.server.exposes(b"# TYPE a counter\na 1\nb 1\nb_2 2\n")
        await at.loop.scrape()
        about, rest = await at.last()
        assert rest == b"# TYPE a counter\na 1\n"
        assert about.exposed == 3
        assert {row["name"]: row["value"] for row in await at.rows()} == {
            "a": 1, "up": 1, "scrape_duration_seconds": about.duration_seconds,
            "scrape_samples_scraped": 3, "scrape_samples_post_metric_relabeling": 1,
        }  # fmt: skip
        assert at.dropped == {}
        assert at.loop.standing.samples == 1


async def test_series_end_by_the_names_that_rules_gave_them(tmp_path: Path) -> None:
    async with desk(tmp_path, **UNPOD) as at:
        at.server.exposes(b'# TYPE a counter\na{pod="1",x="1"} 1\nc{pod="1"} 1\n')
        await at.loop.scrape()
        at.server.exposes(b'c{pod="2"} 2\n')
        await at.loop.scrape()
        _, rest = await at.last()
        assert rest == b'c 2\n# TYPE a counter\n# meshweir stale a{x="1"}\n'
        at.server.answers["/metrics"] = answer(b"", status=503)
        await at.loop.scrape()
        assert (await at.last())[0].exposed == 0
        await at.loop.end()
        ended = {row["name"] for row in await at.rows() if row["flags"]}
        assert ended == {
            "up", "scrape_duration_seconds", "scrape_samples_scraped",
            "scrape_samples_post_metric_relabeling",
        }  # fmt: skip


async def test_series_that_rules_made_equal_are_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, **UNPOD) as at:
        at.server.exposes(b'a{pod="1"} 1\na{pod="2"} 2\na{pod="3"} 3\n')
        await at.loop.scrape()
        assert (await at.last())[1] == b"a 1\n"
        assert at.dropped == {"a series twice after metric_relabel_configs": 2}


async def test_secrets_that_rules_put_into_labels_are_masked(tmp_path: Path) -> None:
    rule = {"source_labels": ["x"], "target_label": "api_key"}
    async with desk(tmp_path, metric_relabel_configs=[rule]) as at:
        at.server.exposes(b'a{x="s3cret-of-a-consumer"} 1\n')
        await at.loop.scrape()
        assert b'api_key="s3cret' not in (await at.messages())[-1].value


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"sample_limit": 2}, "too many samples"),
        ({"sample_limit": 2} | UNPOD, "too many samples"),
        ({"label_limit": 3}, "label_limit"),
        ({"label_name_length_limit": 7}, "label_name_length_limit"),
        ({"label_value_length_limit": 3}, "label_value_length_limit"),
        ({"metric_relabel_configs": [{"regex": "__name__", "action": "labeldrop"}]},
         "no name after metric_relabel_configs"),
    ],
)  # fmt: skip
async def test_a_scrape_past_a_limit_of_its_job_fails(
    tmp_path: Path, says: dict[str, object], reason: str
) -> None:
    async with desk(tmp_path, **says) as at:
        at.server.exposes(b'a{x="1"} 1\na{x="2"} 1\na{pod="four"} 1\n')
        await at.loop.scrape()
        about, rest = await at.last()
        assert (about.up, rest) == (False, b"")
        assert at.dropped == {reason: 1}


async def test_the_limit_of_samples_is_for_what_rules_leave(tmp_path: Path) -> None:
    async with desk(tmp_path, sample_limit=2, **DROP) as at:
        at.server.exposes(b"a 1\nb 1\nc 1\n")
        await at.loop.scrape()
        assert at.loop.standing.up
        at.server.exposes(b"a 1\nb 1\nc 1\nd 1\n")
        await at.loop.scrape()
        assert not at.loop.standing.up


async def test_times_are_those_of_the_scrape_where_the_targets_are_not_honored(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, honor_timestamps=False) as at:
        at.server.exposes(b"a 1 1700000000000\n")
        await at.loop.scrape()
        assert (await at.last())[1] == b"a 1\n"
        at.server.exposes(b"")
        await at.loop.scrape()
        assert (await at.last())[1] == b"# meshweir stale a\n"


async def test_the_end_of_series_with_times_is_told_when_asked_for(tmp_path: Path) -> None:
    async with desk(tmp_path, track_timestamps_staleness=True) as at:
        at.server.exposes(b"a 1 1700000000000\n")
        await at.loop.scrape()
        assert (await at.last())[1] == b"a 1 1700000000000\n"
        at.server.exposes(b"")
        await at.loop.scrape()
        assert (await at.last())[1] == b"# meshweir stale a\n"


async def test_a_large_scrape_that_rules_changed_is_cut_and_told_once(tmp_path: Path) -> None:
    async with desk(tmp_path, bus={"max_message_bytes": 20_000}, **DROP) as at:
        lines = b"".join(b'a{series="%d"} 1\n' % number for number in range(990))
        at.server.exposes(b"# TYPE a counter\n" + lines + b"b 1\n")
        await at.loop.scrape()
        messages = await at.messages()
        assert len(messages) == 2
        decoded = DECODERS["prometheus_text"]([message.value for message in messages])
        told = {
            row["name"]: row["value"]
            for row in decoded.batches["metric_points"].to_pylist()
            if row["name"] != "a"
        }
        assert (told["scrape_samples_scraped"], told["scrape_samples_post_metric_relabeling"]) == (
            991,
            990,
        )


@pytest.mark.parametrize(
    ("says", "accept", "encoding"),
    [
        ({"scrape_protocols": ["PrometheusText0.0.4", "PrometheusProto", "OpenMetricsText1.0.0"]},
         ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;"
          "escaping=allow-utf-8;q=0.5,*/*;q=0.4"), "gzip"),
        ({"scrape_protocols": ["OpenMetricsText1.0.0"], "metric_name_validation_scheme": "legacy",
          "enable_compression": False},
         "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5",
         "identity"),
        ({"scrape_protocols": ["PrometheusText1.0.0"], "metric_name_escaping_scheme": "dots"},
         "text/plain;version=1.0.0;escaping=dots;q=0.6,*/*;q=0.5", "gzip"),
    ],
)  # fmt: skip
async def test_a_target_is_asked_as_the_job_says(
    tmp_path: Path, says: dict[str, object], accept: str, encoding: str
) -> None:
    async with desk(tmp_path, **says) as at:
        at.server.exposes(b"a 1\n")
        await at.loop.scrape()
        asked = at.server.asked[0].headers
        assert (asked["accept"], asked["accept-encoding"]) == (accept, encoding)


@pytest.mark.parametrize("content_type", ["", "application/x-metrics"])
async def test_an_answer_without_a_known_type_is_in_the_protocol_of_the_fallback(
    tmp_path: Path, content_type: str
) -> None:
    async with desk(tmp_path, fallback_scrape_protocol="OpenMetricsText1.0.0") as at:
        at.server.exposes(b"a 1\n# EOF\n", content_type=content_type)
        await at.loop.scrape()
        (message,) = await at.messages()
        assert message.headers["format"] == "openmetrics_text"
        assert at.loop.standing.up
