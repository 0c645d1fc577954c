"""Runs are divided by what became of their messages, and nothing is left out or told twice."""

from hypothesis import given, strategies as st

from pipeline.model.messages import Partition
from pipeline.model.runs import FINAL, NEVER, Run, divided

P, OTHER = Partition("otlp_spans"), Partition("otlp_spans", 1)


@st.composite
def recorded(draw):
    """Runs as a store records them: named ones never overlap, one of FINAL may lie under them."""
    cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=8)))
    named = [
        Run(P, first, until, draw(st.sampled_from([None, 1, 2])))
        for first, until in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    final = draw(st.lists(st.integers(0, 30), min_size=2, max_size=2, unique=True))
    under = [Run(P, min(final), max(final), FINAL)] if draw(st.booleans()) else []
    return draw(st.permutations([*named, *under, Run(OTHER, 0, 30, 7)]))


def owner_of(offset, known):
    """By definition: a named run before what is final, and never in where neither is."""
    owners = [run.slice for run in known if run.partition == P and run.first <= offset < run.until]
    return next((one for one in owners if one != FINAL), FINAL if owners else NEVER)


@given(recorded(), st.integers(0, 30), st.integers(1, 10))
def test_every_message_of_a_run_is_told_once_with_what_became_of_it(known, first, length):
    parts = divided(Run(P, first, first + length), known)
    told = [(offset, part.slice) for part in parts for offset in range(part.first, part.until)]
    assert told == [(offset, owner_of(offset, known)) for offset in range(first, first + length)]
    assert all(part.first < part.until and part.partition == P for part in parts)
