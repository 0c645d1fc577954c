"""What is said again and again while something lasts."""

from pipeline.jobs.repeated import SECONDS_BETWEEN, Repeated


def test_the_new_is_said_at_once_and_the_old_now_and_then():
    now = [100.0]
    troubles = Repeated(lambda: now[0])
    assert troubles.worth_saying("a")
    assert not troubles.worth_saying("a")
    assert troubles.worth_saying("b")
    now[0] += SECONDS_BETWEEN
    assert troubles.worth_saying("b")
    assert not troubles.worth_saying("b")


def test_that_it_is_over_is_worth_a_word_only_after_one():
    troubles = Repeated()
    assert not troubles.over()
    troubles.worth_saying("a")
    assert troubles.over()
    assert not troubles.over()
    assert troubles.worth_saying("a")
