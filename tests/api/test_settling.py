"""When a command's graph is computed: what others write meanwhile is not waited for."""

import asyncio

from api.settling import settle
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.messages import Partition
from pipeline.store import open_store
from tests.pipeline.store.rows import spans

P = Partition("otlp_spans")


def test_what_is_written_meanwhile_is_not_waited_for(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    written = 0

    def write():
        nonlocal written
        before = {P: written} if written else {}
        store.write({"spans": spans([written])}, expected=before, positions={P: written + 1})
        written += 1

    recompute = MinutesJob._recompute_together

    def while_others_write(job, group):
        write()
        return recompute(job, group)

    monkeypatch.setattr(MinutesJob, "_recompute_together", while_others_write)
    write()
    assert asyncio.run(settle(store, patience=60.0))
    assert written == 2
    assert store.unnoticed() == [2]
    store.close()
