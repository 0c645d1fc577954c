"""What waits to be read, by what this process does and by what the brokers answer."""

from hypothesis import given, strategies as st

from pipeline.bus.kafka_lag import Lag
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS

SPANS = Partition(OTLP_SPANS)


@given(
    st.lists(st.sampled_from(["publish", "consume", "ask", "answer"])),
    st.integers(min_value=1, max_value=1 << 20),
)
def test_one_process_alone_knows_its_lag_exactly_whenever_answers_come(
    events: list[str], size: int
) -> None:
    lag, end, read = Lag(), 0, 0
    lag.answered({SPANS: 0}, {SPANS: 0})
    asked: tuple[int, int] | None = None
    for event in events:
        match event:
            case "publish":
                lag.published(SPANS, end, size)
                end += 1
            case "consume":
                read = end
                lag.consumed({SPANS: read})
            case "ask":
                lag.asking()
                asked = (end, read)
            case "answer" if asked is not None:
                # however old the answer is, what was done since it was asked for holds
                lag.answered({SPANS: asked[0]}, {SPANS: asked[1]})
                asked = None
        assert lag.bytes == (end - read) * size
        assert lag.ends == {SPANS: end}


def test_what_other_processes_do_is_seen_when_brokers_answer() -> None:
    lag = Lag()
    lag.sized(OTLP_SPANS, 100)
    lag.answered({SPANS: 50}, {SPANS: 20})
    assert lag.bytes == 3000
    lag.asking()
    lag.answered({SPANS: 60}, {SPANS: 60})
    assert lag.bytes == 0
    # a topic that was made anew ends earlier
    lag.asking()
    lag.answered({SPANS: 2}, {SPANS: 0})
    assert (lag.bytes, lag.ends) == (200, {SPANS: 2})


def test_each_topic_has_its_own_size_and_one_is_asked_for_where_none_is_known() -> None:
    lag = Lag()
    logs = Partition(OTLP_LOGS, 3)
    lag.answered({SPANS: 10, logs: 5}, {SPANS: 0, logs: 0})
    assert lag.unsized() == {OTLP_SPANS: SPANS, OTLP_LOGS: logs}
    lag.sized(OTLP_SPANS, 100)
    lag.sized(OTLP_SPANS, 300)
    lag.sized(OTLP_LOGS, 7)
    assert lag.unsized() == {}
    assert lag.bytes == 10 * 200 + 5 * 7
