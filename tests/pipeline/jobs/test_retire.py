"""What is past its age leaves a real store."""

import asyncio

from pipeline.jobs.minutes import MinutesJob
from pipeline.jobs.retire import RetireJob
from pipeline.store import StoreSettings, open_store
from tests.api.mesh_rows import calls, tables


def test_rows_past_their_age_are_deleted(tmp_path):
    store = open_store(tmp_path, StoreSettings(raw_age_seconds=1e-6, derived_age_seconds=1e9))
    try:
        batches = tables(calls(3, client="frontend", server="cart"))
        store.write(batches, expected={}, positions={})
        asyncio.run(MinutesJob(store).settle())
        assert asyncio.run(RetireJob(store).run()) is False
        trace = {"trace_id_high": 0x4BF92F3577B34DA6, "trace_id_low": 1}
        assert store.ask("trace_spans", **trace).is_empty()
        assert store.ask("edge_rows", client="shop/frontend", server="shop/cart",
                         start=0, end=2**62).height == 2  # fmt: skip
    finally:
        store.close()
