"""The log against a model of it: any sequence of commits, consumption and restarts."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.bus.frame import FRAME, Entry
from pipeline.bus.log import Keeping, Log
from pipeline.model.messages import Partition

TOPICS = ("a", "b")
KEPT_BYTES = 20_000
KEEPING = Keeping(KEPT_BYTES, 10**18)


class LogMachine(RuleBasedStateMachine):
    """Keeps beside the log what it must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.stored: dict[str, dict[int, bytes]] = {topic: {} for topic in TOPICS}
        self.consumed = dict.fromkeys(TOPICS, 0)
        self.next = dict.fromkeys(TOPICS, 0)

    @initialize()
    def begin(self) -> None:
        """Open an empty log."""
        self.log = self.opened()

    def opened(self) -> Log:
        """The log of the directory, opened."""
        log = Log(self.directory, TOPICS, map_bytes=1 << 26, min_free_bytes=0)
        log.open()
        return log

    @rule(
        entries=st.lists(
            st.tuples(st.sampled_from(TOPICS), st.sampled_from([0, 10, 2000, 2100, 9000])),
            max_size=6,
        )
    )
    def commit(self, entries: list[tuple[str, int]]) -> None:
        """Append some messages in one commit."""
        values = [bytes([index]) * size for index, (_, size) in enumerate(entries)]
        wanted = [
            Entry(topic, b"{}", value) for (topic, _), value in zip(entries, values, strict=True)
        ]
        for entry, offset in zip(wanted, self.log.commit(wanted, KEEPING), strict=True):
            assert offset == self.next[entry.topic]
            self.next[entry.topic] = offset + 1
            self.stored[entry.topic][offset] = entry.value
        assert self.log.kept_bytes <= KEPT_BYTES

    @rule(topic=st.sampled_from(TOPICS), forward=st.integers(-3, 12))
    def consume(self, topic: str, forward: int) -> None:
        """Move a position, perhaps past the end, perhaps back."""
        position = max(0, self.consumed[topic] + forward)
        self.log.consume({Partition(topic): position})
        self.consumed[topic] = max(self.consumed[topic], position)
        self.next[topic] = max(self.next[topic], position)

    @rule()
    def restart(self) -> None:
        """Close it in good order, and open it."""
        self.log.commit([], KEEPING)
        self.log.close()
        self.log = self.opened()

    @rule()
    def reopen(self) -> None:
        """Map it anew, with consumption that was not saved yet."""
        self.log.reopen()

    @invariant()
    def holds_all_that_was_not_consumed(self) -> None:
        """All that was not consumed is there, and nothing else than what was stored."""
        if not hasattr(self, "log"):
            return
        found: dict[str, dict[int, bytes]] = {topic: {} for topic in TOPICS}
        for message in self.log.read({}, max_bytes=1 << 40):
            found[message.partition.topic][message.offset] = message.value
        for topic in TOPICS:
            assert found[topic].items() <= self.stored[topic].items()
            wanted = {o: v for o, v in self.stored[topic].items() if o >= self.consumed[topic]}
            assert wanted.items() <= found[topic].items()
            assert list(found[topic]) == sorted(found[topic])

    @invariant()
    def knows_sizes_and_ends(self) -> None:
        """Sums and ends are those of the model."""
        if not hasattr(self, "log"):
            return
        open_bytes = sum(
            FRAME.size + 2 + len(value)
            for topic in TOPICS
            for offset, value in self.stored[topic].items()
            if offset >= self.consumed[topic]
        )
        assert self.log.unconsumed_bytes == open_bytes
        assert self.log.ends == {Partition(topic): self.next[topic] for topic in TOPICS}

    def teardown(self) -> None:
        """Remove the directory."""
        self.log.close()
        shutil.rmtree(self.directory)


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLog = LogMachine.TestCase
