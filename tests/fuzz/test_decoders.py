"""Damaged messages through every decoder and door: answered, and answered with conforming rows."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline.decode import DECODERS
from tests.fuzz.laws import check
from tests.fuzz.seeds import seeds
from tests.fuzz.strategies import damaged

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first example waits for the compiler."""


@pytest.mark.parametrize("name", DECODERS)
def test_every_format_has_seeds(name: str) -> None:
    assert seeds()[name], "add a golden file, or a sample to pipeline/decode/__main__.py"


@pytest.mark.parametrize("name", DECODERS)
def test_all_seeds_through_all_decoders(name: str) -> None:
    for other in DECODERS:
        check(name, seeds()[other])


@pytest.mark.parametrize("name", DECODERS)
@PATIENT
@given(data=st.data())
def test_damaged_messages_are_answered(name: str, data: st.DataObject) -> None:
    check(name, data.draw(st.lists(damaged(seeds()[name]), min_size=1, max_size=3)))
