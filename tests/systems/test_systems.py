"""The table of ``docs/systems.md`` is what payloads of every system and signal come to."""

from pathlib import Path

import pytest

from pipeline.decode import DECODERS
from tests.golden import Golden
from tests.systems.cases import ABSENT, SIGNALS, SYSTEMS, Case, cases
from tests.systems.proof import Proof, proved

PAGE = Path(__file__).parents[2] / "docs/systems.md"
EDGES = Path(__file__).parent / "edges.txt"
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
HEAD = ("system", "signal", "format", "received", "graph", "mTLS", "consumer", "retries", "routes")


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Proof]:
    return {case: proved(case, tmp_path_factory.mktemp(case.name)) for case in cases()}


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def table(proofs: dict[Case, Proof]) -> str:
    lines = [row(*HEAD), row(*["---"] * len(HEAD))]
    for system, title in SYSTEMS.items():
        for signal, called in SIGNALS.items():
            found = [case for case in proofs if (case.system, case.signal) == (system, signal)]
            lines += [
                row(title, called, f"`{case.format}`", *proofs[case].known.cells())
                for case in found
            ]
            if not found:
                lines.append(row(title, called, ABSENT[system, signal], "no", *["-"] * 5))
    return "".join(lines)


def test_every_payload_is_of_a_known_system_signal_and_format() -> None:
    for case in cases():
        assert case.system in SYSTEMS
        assert case.signal in SIGNALS
        assert case.format in DECODERS


def test_every_signal_of_every_system_is_proved_or_its_absence_explained() -> None:
    proved_here = {(case.system, case.signal) for case in cases()}
    every = {(system, signal) for system in SYSTEMS for signal in SIGNALS}
    assert proved_here | set(ABSENT) == every
    assert not proved_here & set(ABSENT)


def test_all_payloads_are_received(proofs: dict[Case, Proof]) -> None:
    assert [case.name for case, proof in proofs.items() if not proof.known.received] == []


def test_the_edges_of_all_payloads(proofs: dict[Case, Proof], golden: Golden) -> None:
    told = [f"{case.name}\n" + "".join(f"  {edge}\n" for edge in proof.edges)
            for case, proof in proofs.items()]  # fmt: skip
    golden.check(EDGES, "\n".join(told))


def test_the_table_of_the_page(proofs: dict[Case, Proof], golden: Golden) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    golden.check(PAGE, f"{before}{BEGIN}{table(proofs)}{END}{after}")
