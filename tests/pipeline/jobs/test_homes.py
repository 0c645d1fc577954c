"""The index of homes: exact for every key, in every generation."""

import numpy as np
from hypothesis import given, settings, strategies as st

from pipeline.jobs.homes import Homes, trace_keys


@given(
    st.lists(st.sets(st.integers(1, 400), max_size=60), min_size=1, max_size=40),
    st.integers(20, 200),
)
@settings(max_examples=100, deadline=None)
def test_a_home_is_the_first_slice_that_held_the_key(slices, generation):
    homes, truth, asked = Homes(generation=generation), {}, 0

    for number, held in enumerate(slices, start=1):
        keys = np.array(sorted(held), np.uint64)

        def confirm(wanted, low, high, keys=keys):
            nonlocal asked
            asked += len(wanted)
            known = [at for at in wanted if low <= truth.get(int(keys[at]), -1) <= high]
            return np.array(known, np.int64), np.array(
                [truth[int(keys[at])] for at in known], np.int64
            )

        found = homes.place(keys, number, confirm)
        for key in held:
            truth.setdefault(key, number)
        assert found.tolist() == [truth[key] for key in sorted(held)]


def test_new_keys_seldom_ask_the_store():
    homes = Homes(generation=10_000)
    random = np.random.default_rng(7)
    asked = 0

    def confirm(wanted, low, high):
        nonlocal asked
        asked += len(wanted)
        return np.empty(0, np.int64), np.empty(0, np.int64)

    for number in range(1, 31):
        homes.place(random.integers(1, 2**63, 5_000, dtype=np.uint64), number, confirm)
    assert 0 < asked < 30 * 5_000 * 0.05


def test_trace_keys_depend_on_both_halves():
    high = np.array([1, 2, 1], np.uint64)
    low = np.array([5, 5, 6], np.uint64)
    assert len(set(trace_keys(high, low).tolist())) == 3


def test_what_was_at_home_in_a_slice_that_left_is_at_home_anew():
    homes = Homes()
    keys = np.array([1, 2, 3], np.uint64)

    def nobody(wanted, low, high):
        return np.empty(0, np.int64), np.empty(0, np.int64)

    homes.place(keys[:2], 1, nobody)
    homes.place(keys, 2, nobody)
    homes.forget(2)
    assert homes.find(keys).tolist() == [-1, -1, 2]
    assert homes.place(keys, 5, nobody).tolist() == [5, 5, 2]
    assert homes.place(keys, 6, nobody).tolist() == [5, 5, 2]
