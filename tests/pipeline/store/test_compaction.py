"""Which files are merged together, and which are written anew."""

from hypothesis import given, strategies as st

from pipeline.store.compaction import (
    BYTES_TOGETHER,
    DELETED_FILES,
    MIB,
    STEPS,
    DataFile,
    mergeable,
    worth_rewriting,
)


def whole(*sizes: int) -> list[DataFile]:
    return [DataFile(size, 100, 0) for size in sizes]


def test_few_files_are_left_alone() -> None:
    assert list(mergeable(whole(*[1_000] * (STEPS[0].files - 1)))) == []


def test_small_files_are_merged_with_small_ones() -> None:
    files = whole(*[1_000] * 8, *[MIB] * 5, 100 * MIB)
    assert list(mergeable(files)) == [(0, 1_001)]


def test_what_the_last_step_made_stays() -> None:
    assert list(mergeable(whole(*[STEPS[-1].high] * 100))) == []


def test_files_with_deleted_rows_are_not_merged_but_written_anew() -> None:
    torn = [DataFile(1_000, 100, deleted) for deleted in range(1, DELETED_FILES + 1)]
    assert list(mergeable(torn)) == []
    share = worth_rewriting(torn)
    assert share is not None
    assert all(file.deleted / file.rows > share for file in torn)


def test_a_large_file_is_written_anew_for_many_deleted_rows_only() -> None:
    assert worth_rewriting([DataFile(50 * MIB, 100, 10)]) is None
    assert worth_rewriting([DataFile(50 * MIB, 100, 30)]) is not None


def test_a_large_file_with_few_deleted_rows_is_not_taken_along() -> None:
    torn = [DataFile(1_000, 100, 50)] * DELETED_FILES
    share = worth_rewriting([*torn, DataFile(BYTES_TOGETHER, 100, 1)])
    assert share is not None
    assert share > 0.01


@given(st.lists(st.integers(1, 40 * MIB), max_size=80))
def test_a_merge_takes_at_least_two_files_and_no_more_bytes_than_allowed(sizes: list[int]) -> None:
    for low, high in mergeable(whole(*sizes)):
        taken = [size for size in sizes if low <= size < high]
        assert len(taken) >= 2
        equal = taken.count(max(taken)) * max(taken)
        assert sum(taken) - equal <= BYTES_TOGETHER
