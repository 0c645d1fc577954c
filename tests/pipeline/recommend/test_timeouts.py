"""Deadlines from histograms: what is advised, on what evidence, and when nothing is."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.model.policy import Recommendation, Timeout
from pipeline.recommend import recommend
from pipeline.recommend.timeouts import (
    BACKOFF_SECONDS,
    FLOOR_SECONDS,
    MAX_FALSE_TIMEOUTS,
    MIN_ROWS,
    TRIES,
)
from tests.pipeline.recommend.frames import END, MILLION, START, frame, lognormal, minute, steady


def advice(rows: Sequence[Mapping[str, object]]) -> list[Recommendation]:
    return recommend(frame(rows), start=START, end=END)


def test_a_deadline_covers_the_percentiles_with_room() -> None:
    (given_advice,) = advice(steady())
    seconds = np.sort(np.concatenate([lognormal(500, seed=number) for number in range(20)]))
    policy = given_advice.policy
    p99, p99_9 = (seconds[math.ceil(len(seconds) * share) - 1] for share in (0.99, 0.999))
    least = max(1.2 * p99_9, 1.5 * p99)
    # the upper border of a bucket is at most 2.2 % above, two digits at most 10 % above that
    assert least <= policy.per_try_seconds <= least * 1.022 * 1.1
    assert policy.tries == TRIES
    assert policy.request_seconds >= TRIES * policy.per_try_seconds + BACKOFF_SECONDS
    assert (given_advice.target.client, given_advice.target.server) == (
        "shop/frontend",
        "shop/cart",
    )


def test_the_evidence_says_what_the_advice_rests_on() -> None:
    (given_advice,) = advice(steady())
    found = {evidence.name: evidence.value for evidence in given_advice.evidence}
    assert found["observations"] == 10_000
    assert found["healthy_minutes"] == 20
    assert found["healthy_request_ratio"] == 1.0
    assert found["false_timeout_ratio"] <= MAX_FALSE_TIMEOUTS
    assert found["false_timeout_ratio_upper_95"] >= found["false_timeout_ratio"]
    assert 0 < given_advice.confidence < 0.5  # twenty minutes are not a week
    assert "10,000 healthy requests" in given_advice.expected_effect
    assert given_advice.undo
    assert (given_advice.start, given_advice.end) == (START, END)


def test_the_replay_counts_what_would_have_been_cut() -> None:
    slow = [minute(20, [0.01] * 20_000 + [30.0] * 3)]
    rows = [minute(number, [0.01] * 1000) for number in range(20)]
    (given_advice,) = advice(rows + slow)
    found = {evidence.name: evidence.value for evidence in given_advice.evidence}
    assert given_advice.policy.per_try_seconds == FLOOR_SECONDS
    assert found["false_timeout_ratio"] == pytest.approx(3 / 40_003)
    assert "3 (0.007%) would have been cut" in given_advice.expected_effect


def test_unhealthy_minutes_do_not_count() -> None:
    ill = [minute(20 + number, [5.0] * 500, server_errors=26 * MILLION) for number in range(20)]
    with_ill, without = advice([*steady(), *ill]), advice(steady())
    assert with_ill[0].policy == without[0].policy
    assert with_ill[0].confidence < without[0].confidence


def test_a_minute_is_healthy_or_not_as_a_whole() -> None:
    """Its failures may be told in another row (of another version) than its successes."""
    ill = [
        one
        for number in range(20, 40)
        for one in (
            minute(number, [5.0] * 500, server_version="1"),
            minute(number, [0.01] * 50, server_version="2", server_errors=50 * MILLION),
        )
    ]
    assert advice([*steady(), *ill])[0].policy == advice(steady())[0].policy


def test_the_worst_hour_decides() -> None:
    def hour(number: int, median: float) -> list[dict[str, object]]:
        return [
            minute(60 * number + one, lognormal(500, median=median, seed=one)) for one in range(20)
        ]

    calm = advice(hour(0, 0.05))[0].policy
    busy = advice(hour(1, 0.1))[0].policy
    assert advice([*hour(0, 0.05), *hour(1, 0.1)])[0].policy == busy
    assert busy.per_try_seconds > 1.5 * calm.per_try_seconds


def test_an_hour_with_few_requests_does_not_speak_alone() -> None:
    thin = [minute(70, [0.05] * 5 + [9.0])]
    (given_advice,) = advice([*steady(), *thin])
    assert given_advice.policy == advice(steady())[0].policy
    found = {evidence.name: evidence.value for evidence in given_advice.evidence}
    assert found["observations"] == 10_006


@pytest.mark.parametrize(
    "rows",
    [
        steady(minutes=9),
        steady(minutes=20, per_minute=49),
        steady(client=None),
        steady(client="clients", client_kind="clients"),
        steady(server=None),
        steady(server="db:orders", server_kind="database"),
        steady(protocol="tcp"),
        [minute(number, [90.0] * 500) for number in range(20)],
        steady(server_errors=400 * MILLION),
        [],
    ],
    ids=[
        "too few minutes", "too few requests", "caller not known", "any caller", "callee not known",
        "database", "tcp", "streams", "always failing", "nothing",
    ],
)  # fmt: skip
def test_nothing_is_advised_without_ground(rows: list[dict[str, object]]) -> None:
    assert advice(rows) == []


def test_tellings_are_never_added_up() -> None:
    server = steady(reporter="server_proxy")
    alone = advice(steady())
    (both,) = advice([*steady(), *server])
    assert both.policy == alone[0].policy
    assert both.evidence == alone[0].evidence
    assert both.evidence[0].source == "edge_minutes, told by client_proxy"


def test_a_reporter_that_saw_little_does_not_speak() -> None:
    few = steady(per_minute=300, reporter="client_proxy")
    full = steady(per_minute=500, reporter="server_proxy")
    (given_advice,) = advice([*few, *full])
    assert given_advice.evidence[0].source == "edge_minutes, told by server_proxy"


def test_an_inversion_is_told() -> None:
    callee = [
        minute(number, [2.0] * 500, client="shop/cart", server="shop/stock") for number in range(20)
    ]
    by_server = {one.target.server: one for one in advice([*steady(), *callee])}
    budget = by_server["shop/stock"].policy.request_seconds
    assert budget > by_server["shop/cart"].policy.per_try_seconds
    assert f"Inversion: shop/cart may spend {budget:g} s on shop/stock" in (
        by_server["shop/cart"].reason
    )
    assert "Inversion" not in by_server["shop/stock"].reason
    found = {evidence.name: evidence.value for evidence in by_server["shop/cart"].evidence}
    assert found["slowest_callee_budget"] == budget


def test_ids_depend_on_rule_target_and_policy_alone() -> None:
    (first,) = advice(steady())
    (again,) = advice([*steady()[::-1]])
    (other,) = advice(steady(server="shop/orders"))
    (sampled,) = advice(steady(system="envoy"))
    assert first.id == again.id == sampled.id
    assert first.id != other.id
    assert first == again


@settings(max_examples=30)
@given(
    st.integers(min_value=0, max_value=2**31),
    st.floats(min_value=0.0005, max_value=5.0),
    st.floats(min_value=0.05, max_value=1.2),
)
def test_no_advice_cuts_more_than_one_in_a_thousand(seed: int, median: float, width: float) -> None:
    generator = np.random.default_rng(seed)
    minutes = [
        (median * np.exp(width * generator.standard_normal(200))).tolist() for _ in range(15)
    ]
    for one in advice([minute(number, seconds) for number, seconds in enumerate(minutes)]):
        assert isinstance(one.policy, Timeout)
        flat = np.concatenate(minutes)
        assert np.mean(flat > one.policy.per_try_seconds) <= MAX_FALSE_TIMEOUTS
        assert len(flat) >= MIN_ROWS
