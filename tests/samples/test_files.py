"""Every file beside this repository is accounted for: what becomes rows, and what does not."""

from pathlib import Path

import pytest

from collectors.receive.file import FileReport
from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.model.topics import FORMAT_SIGNAL
from tests.collectors.receive.test_file import imported
from tests.recordings import SHARED, shared
from tests.samples.files import FOLDERS, NO_TELEMETRY, Known, known_files
from tests.samples.sent import SENT

KNOWN = list(known_files())
TELEMETRY = [known for known in KNOWN if known.format != NO_TELEMETRY]
IMPORTED = [known for known in TELEMETRY if known.format not in SENT]
RECEIVED = [known for known in TELEMETRY if known.format in SENT]
OTHERS = [known for known in KNOWN if known.format == NO_TELEMETRY]


def of_path(known: Known) -> str:
    return known.path


def kept_on_bus(report: FileReport) -> int:
    """How many of the records that were set aside went on the bus with the others."""
    return sum(fault.records for fault in report.faults if fault.on_bus)


def rows_and_refusals(format_name: str, messages: list[bytes]) -> tuple[int, int]:
    decoded = DECODERS[format_name](messages)
    rows = decoded.batches.get(FORMAT_SIGNAL[format_name])
    refused = sum(refusal.records for refusal in decoded.refused)
    return (0 if rows is None else rows.num_rows, refused)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_written_down(folder: str) -> None:
    found = {
        path.relative_to(SHARED).as_posix() for path in shared(folder).rglob("*") if path.is_file()
    }
    told = [known.path for known in KNOWN if known.path.startswith(f"{folder}/")]
    assert len(told) == len(set(told))
    assert set(told) == found


@pytest.mark.parametrize("known", IMPORTED, ids=of_path)
def test_a_file_is_taken_whole_and_what_is_bad_is_told_with_its_place(
    known: Known, tmp_path: Path
) -> None:
    found = imported(tmp_path, shared(known.path))
    report = found.report
    assert report.error is None
    assert (report.format, report.accepted, report.quarantined) == (
        known.format,
        known.taken,
        known.refused,
    )
    assert tuple(sorted({fault.reason for fault in report.faults})) == known.reasons
    assert all(fault.place.startswith("line ") for fault in report.faults)
    messages = [message.value for message in found.messages]
    assert rows_and_refusals(known.format, messages) == (known.taken, kept_on_bus(report))


@pytest.mark.parametrize("known", RECEIVED, ids=of_path)
def test_a_message_passes_the_door_and_becomes_its_rows(known: Known) -> None:
    admission = admit(known.format, SENT[known.format](shared(known.path)), MaskedKeys())
    assert (admission.records, admission.rejected) == (known.taken, known.refused)
    assert rows_and_refusals(known.format, [admission.body]) == (known.taken, known.refused)


@pytest.mark.parametrize("known", OTHERS, ids=of_path)
def test_a_file_that_is_no_telemetry_is_not_taken_for_any(known: Known, tmp_path: Path) -> None:
    found = imported(tmp_path, shared(known.path))
    assert (found.report.accepted, found.messages) == (0, [])
    assert found.report.quarantined
    assert found.report.error is not None
    assert "no telemetry in a known format" in found.report.error
