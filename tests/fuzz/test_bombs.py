"""What is made to blow up does not: calls and memory stay in proportion to the bytes of a message.

Counted, never timed. The proportion is that of the worst case, thousands of lines of two bytes none
of which is a record; what matters is that no input goes past it.
"""

import pytest

from pipeline.decode import DECODERS
from tests.fuzz.bombs import BOMBS, depths, echoes
from tests.fuzz.effort import effort
from tests.fuzz.laws import check, decode, door, foreign
from tests.fuzz.seeds import seeds

SIZE = 1 << 14
CALLS, FREE_CALLS = 16, 50_000
PEAK, FREE_PEAK = 512, 2 << 20
DEEPER_THAN_WRITERS_GO = 300


def is_bounded(name: str, message: bytes) -> None:
    def run() -> None:
        decode(name, [message])
        door(name, message)
        foreign(name, message)

    cost = effort(run)
    assert cost.calls <= FREE_CALLS + CALLS * len(message)
    assert cost.peak_bytes <= FREE_PEAK + PEAK * len(message)


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", DECODERS)
def test_a_message_costs_no_more_than_its_size_allows(name: str, bomb: str) -> None:
    largest = max(seeds()[name], key=len)
    is_bounded(name, BOMBS[bomb](largest, SIZE))


@pytest.mark.parametrize("name", DECODERS)
def test_a_long_text_is_not_repeated_for_each_of_many_items(name: str) -> None:
    shortest = min(seeds()[name], key=len)
    messages = list(echoes(shortest, SIZE))
    for message in messages[:: 1 + len(messages) // 20]:
        is_bounded(name, message)


@pytest.mark.parametrize("name", DECODERS)
def test_deep_structures_in_the_place_of_any_member_break_nothing(name: str) -> None:
    for seed in seeds()[name][:2]:
        for message in depths(seed, DEEPER_THAN_WRITERS_GO):
            check(name, [message])
