"""Random faults: one after the other, each on one process, each undone."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

KILL_SECONDS = (0.1, 2.0)
"""How long a killed process stays away."""

PAUSE_SECONDS = (0.2, 4.0)
"""How long a stopped process usually stands still."""

LONG_PAUSE_SECONDS = (9.0, 12.0)
"""How long it stands still now and then: longer than its session on the broker."""

LONG_PAUSES = 0.15
"""Share of pauses that are long."""

CALM_SECONDS = (0.2, 2.0)
"""Between two faults."""


class Target(Protocol):
    """Something that can be killed, stopped and started again."""

    def start(self) -> object:
        """Start it again."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """SIGSTOP."""

    def resume(self) -> None:
        """SIGCONT."""


@dataclass(frozen=True)
class Fault:
    """One fault: what is done to whom, for how long, in seconds."""

    target: str
    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} for {self.seconds:.1f} s"


def faults(names: Sequence[str], weights: Sequence[float], *, seed: int) -> Iterator[Fault]:
    """Random faults without end; the same seed gives the same."""
    rng = random.Random(seed)
    while True:
        (name,) = rng.choices(names, weights)
        if rng.random() < 0.5:
            yield Fault(name, "kill", rng.uniform(*KILL_SECONDS))
        elif rng.random() < LONG_PAUSES:
            yield Fault(name, "pause", rng.uniform(*LONG_PAUSE_SECONDS))
        else:
            yield Fault(name, "pause", rng.uniform(*PAUSE_SECONDS))


def rage(
    targets: dict[str, Target],
    weights: Sequence[float],
    *,
    events: int,
    seed: int,
    tell: Callable[[str], None],
) -> Counter[str]:
    """Carry out so many faults; what was done how often.

    Args:
        targets: whom it can hit, by name.
        weights: how often each is hit, in the order of the targets.
        events: how many faults.
        seed: of the random numbers.
        tell: takes one line per fault.
    """
    rng = random.Random(seed + 1)
    done: Counter[str] = Counter()
    for number, fault in zip(
        range(1, events + 1), faults(list(targets), weights, seed=seed), strict=False
    ):
        tell(f"{number}/{events} {fault}")
        target = targets[fault.target]
        if fault.kind == "kill":
            target.kill()
            time.sleep(fault.seconds)
            target.start()
        else:
            target.pause()
            time.sleep(fault.seconds)
            target.resume()
        done[f"{fault.kind} {fault.target}"] += 1
        time.sleep(rng.uniform(*CALM_SECONDS))
    return done
