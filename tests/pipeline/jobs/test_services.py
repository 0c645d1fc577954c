"""The bound on distinct services."""

import polars as pl
import pyarrow as pa

from pipeline.jobs.services import OVERFLOW_ID, ServiceLimit
from pipeline.model.tables import RESOURCES, SPANS


def batch(names):
    resources = [
        dict.fromkeys(RESOURCES.names)
        | {"resource_id": f"id-{name}", "service_name": name, "attributes": "{}"}
        for name in names
    ]
    spans = [dict.fromkeys(SPANS.names) | {"resource_id": f"id-{name}"} for name in names]
    return {
        "resources": pa.Table.from_pylist(resources, schema=RESOURCES.arrow),
        "spans": pa.Table.from_pylist(spans, schema=SPANS.arrow),
    }


def names(batches):
    spans = pl.DataFrame(pl.from_arrow(batches["spans"]))
    resources = pl.DataFrame(pl.from_arrow(batches["resources"]))
    return spans.join(resources, on="resource_id", maintain_order="left")["service_name"].to_list()


def test_services_past_the_limit_are_one_and_no_row_is_lost():
    limit = ServiceLimit(3)
    kept, moved = limit.apply(batch(["a", "b", "c", "d", "e"]))
    assert moved == 2
    assert sorted(names(kept)) == ["a", "b", "c", "overflow", "overflow"]
    assert kept["spans"].schema == SPANS.arrow


def test_known_services_stay_themselves():
    limit = ServiceLimit(2)
    limit.apply(batch(["a", "b"]))
    kept, moved = limit.apply(batch(["b", "c", "a"]))
    assert moved == 1
    assert names(kept) == ["b", "overflow", "a"]
    assert set(kept["resources"]["resource_id"].to_pylist()) == {"id-a", "id-b", OVERFLOW_ID}


def test_services_of_the_store_are_known():
    limit = ServiceLimit(2)
    limit.learn(pl.DataFrame({"service_namespace": ["shop", None], "service_name": ["x", "a"]}))
    assert names(limit.apply(batch(["a", "b"]))[0]) == ["a", "overflow"]


def test_a_million_names_in_one_batch():
    kept, moved = ServiceLimit(100).apply(batch([f"s{n}" for n in range(20_000)]))
    assert moved == 19_900
    assert len(set(names(kept))) == 101
