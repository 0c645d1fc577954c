"""The index of homes: exact for every key, in every generation."""

import numpy as np
from hypothesis import given, settings, strategies as st

from pipeline.jobs.homes import NO_PAIRS, NOTHING, Homes, Pairs, Remembered, trace_keys


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
            slices = np.array([truth[int(keys[at])] for at in known], np.int64)
            return Remembered(keys[np.array(known, np.int64)], slices, NO_PAIRS)

        found = homes.place(keys, number, confirm).homes
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
        return NOTHING

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

    homes.place(keys[:2], 1, nobody)
    homes.place(keys, 2, nobody)
    homes.forget(2)
    assert homes.find(keys).tolist() == [-1, -1, 2]
    assert homes.place(keys, 5, nobody).homes.tolist() == [5, 5, 2]
    assert homes.place(keys, 6, nobody).homes.tolist() == [5, 5, 2]


def nobody(wanted, low, high):
    return NOTHING


def test_keys_of_one_row_have_one_home_and_the_later_home_is_left():
    homes = Homes()
    one, two, three = (np.array([key], np.uint64) for key in (1, 2, 3))
    homes.place(one, 1, nobody)
    homes.place(two, 3, nobody)
    homes.place(three, 4, nobody)
    both = Pairs(np.array([0]), np.array([1]))
    placed = homes.place(np.array([2, 3], np.uint64), 5, nobody, both)
    assert placed.homes.tolist() == [3, 3]
    assert placed.left.tolist() == [[4, 3]]
    placed = homes.place(np.array([1, 2], np.uint64), 6, nobody, both)
    assert placed.homes.tolist() == [1, 1]
    assert placed.left.tolist() == [[3, 1]]
    assert homes.find(three).tolist() == [1]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=12),
        min_size=1,
        max_size=30,
    ),
    st.integers(10, 80),
)
@settings(max_examples=100, deadline=None)
def test_a_groups_home_is_the_first_slice_of_any_of_its_keys(slices, generation):
    homes, rows = Homes(generation=generation), []

    def groups():
        """Group by key, the slow way: all that rows so far make one."""
        of = {}
        for number, pair in rows:
            met = [of[key] for key in pair if key in of]
            members = {*pair}.union(*(one[0] for one in met))
            first = min([number, *(one[1] for one in met)])
            for key in members:
                of[key] = (members, first)
        return of

    for number, held in enumerate(slices, start=1):
        before = groups()
        keys = np.unique(np.array([key for pair in held for key in pair], np.uint64))

        def confirm(wanted, low, high, keys=keys, before=before, rows=tuple(rows)):
            asked = {int(keys[at]) for at in wanted}
            found = {key for n, pair in rows if low <= n <= high for key in asked & {*pair}}
            pairs = [(key, min(before[one][0])) for one in found for key in before[one][0]]
            known = sorted({key for pair in pairs for key in pair})
            at = {key: place for place, key in enumerate(known)}
            return Remembered(
                np.array(known, np.uint64),
                np.array([before[key][1] for key in known], np.int64),
                Pairs(*(np.array([at[pair[n]] for pair in pairs], np.int64) for n in (0, 1))),
            )

        at = {int(key): place for place, key in enumerate(keys)}
        pairs = Pairs(*(np.array([at[pair[n]] for pair in held], np.int64) for n in (0, 1)))
        placed = homes.place(keys, number, confirm, pairs)
        rows += [(number, pair) for pair in held]
        after = groups()
        assert placed.homes.tolist() == [after[int(key)][1] for key in keys]
        moved = {(before[k][1], after[k][1]) for k in before if before[k][1] != after[k][1]}
        assert set(map(tuple, placed.left.tolist())) == moved
