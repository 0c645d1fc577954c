"""Turns between processes; what happens when one is stopped is in ``test_ducklake.py``."""

import threading
from pathlib import Path

from pipeline.store.courtesy import Courtesy


def test_who_never_pauses_cannot_take_all_turns(tmp_path: Path) -> None:
    eager, waiting = Courtesy(tmp_path), Courtesy(tmp_path)
    taken, done = 0, threading.Event()

    def take_turns() -> None:
        nonlocal taken
        while not done.is_set():
            with eager.turn():
                taken += 1
                done.wait(0.02)

    thread = threading.Thread(target=take_turns)
    thread.start()
    try:
        for _ in range(10):
            before = taken
            with waiting.turn():
                # the one under way, and one that began before we stood next
                assert taken - before <= 2
    finally:
        done.set()
        thread.join()
        eager.close()
        waiting.close()


def test_turns_never_overlap(tmp_path: Path) -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def take_turns() -> None:
        nonlocal inside, most
        mine = Courtesy(tmp_path)
        for _ in range(20):
            with mine.turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
        mine.close()

    threads = [threading.Thread(target=take_turns) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
