"""What names of clusters, certificates, routes and hosts mean, system by system."""

import polars as pl
import pytest

from pipeline.analyze.names import FORMS, Meaning, meant, node

UUID = "11111111-2222-3333-4444-555555555555"


def told(name):
    """What is known of a name; nothing of what is not."""
    (row,) = meant(pl.Series([name], dtype=pl.String)).to_dicts()
    return {part: value for part, value in row.items() if value is not None}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.system}: {form.what}")
def test_every_example_fits_the_row_it_stands_in_and_no_earlier_one(form):
    found = told(form.example)
    assert (found["system"], found["meaning"]) == (form.system, form.meaning)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "outbound|80|v1|svc.ns.svc.cluster.local",
            {"namespace": "ns", "name": "svc", "version": "v1", "port": "80"},
        ),
        ("outbound|9080||reviews.bookinfo.svc.example.org", {"namespace": "bookinfo"}),
        ("outbound_.80_.v1_.svc.ns.svc.cluster.local", {"name": "svc", "version": "v1"}),
        ("inbound-vip|9080|http|reviews.bookinfo.svc.cluster.local", {"name": "reviews"}),
        (
            "inbound-vip|9080|tcp/v2|reviews.bookinfo.svc.cluster.local",
            {"name": "reviews", "version": "v2"},
        ),
        ("outbound|443||api.stripe.com", {"meaning": "external", "name": "api.stripe.com"}),
        ("inbound|8080||", {"meaning": "self"}),
        ("inbound|9080|http|reviews.default.svc.cluster.local", {"meaning": "self"}),
        (
            f"web.default.dc1.internal.{UUID}.consul",
            {"namespace": "default", "name": "web", "cluster": "dc1"},
        ),
        (f"v1.web.default.dc1.internal.{UUID}.consul", {"name": "web", "version": "v1"}),
        (f"~hash~web.default.dc1.internal.{UUID}.consul".removeprefix("~"), {"name": "web"}),
        (f"passthrough~web.default.dc1.internal.{UUID}.consul", {"name": "web"}),
        (
            f"v2.web.shop.billing.dc2.internal-v1.{UUID}.consul",
            {"namespace": "shop", "name": "web", "version": "v2", "cluster": "dc2"},
        ),
        (f"web.default.partner.external.{UUID}.consul", {"name": "web", "cluster": "partner"}),
        (
            f"spiffe://{UUID}.consul/ap/billing/ns/default/dc/dc1/svc/web",
            {"namespace": "default", "name": "web", "cluster": "dc1"},
        ),
        (
            "spiffe://cluster.local/ns/shop/sa/orders",
            {"namespace": "shop", "name": "orders", "system": "istio"},
        ),
        (
            "sidecar~10.1.1.1~orders-6b7c8d9f7d-x2x9k.shop~shop.svc.cluster.local",
            {"namespace": "shop", "name": "orders", "pod": "orders-6b7c8d9f7d-x2x9k"},
        ),
        (
            "waypoint~10.1.1.2~waypoint-7d9f8b6c5d-abcde.shop~shop.svc.cluster.local".replace(
                "abcde", "bcdfg"
            ),
            {"namespace": "shop", "name": "waypoint"},
        ),
        ("httproute/ns/name/rule/0", {"meaning": "route", "name": "httproute/ns/name/rule/0"}),
        ("httproute/ns/name/rule/0/backend/1", {"name": "httproute/ns/name/rule/0"}),
        ("httproute/ns/name/rule/0/match/1/shop_example_com", {"meaning": "route"}),
        ("tcproute/ns/name/rule/-1", {"meaning": "route"}),
        ("service/default/service-1/8080/http2", {"name": "service-1", "port": "8080"}),
        ("orders-0.orders.shop.svc.cluster.local:80", {"namespace": "shop", "name": "orders"}),
        ("http://orders.shop.svc:8080/v1/x", {"namespace": "shop", "name": "orders"}),
        ("https://api.example.com/v1?a=b", {"meaning": "external", "name": "api.example.com"}),
    ],
)
def test_a_name_says_what_its_grammar_says(name, parts):
    assert told(name).items() >= parts.items()


@pytest.mark.parametrize(
    "name",
    ["connect_originate", "main_internal", "encap", "inner_connect_originate", "xds-grpc"],
)
def test_hops_inside_of_a_waypoint_name_nobody(name):
    assert told(name)["meaning"] == Meaning.PLUMBING


@pytest.mark.parametrize(
    "name", ["orders", "10.0.0.1:80", "[::1]:80", "", None, "a|b", "shop/orders", "svc", ".svc."]
)
def test_a_name_of_no_known_form_means_nothing(name):
    assert told(name) == {}


def test_only_services_are_nodes_and_rows_keep_their_order():
    names = ["x", "outbound|80||b.shop.svc.cluster.local", None, "local_app", "x"]
    found = pl.DataFrame({"name": names}).select(node(pl.col("name"))).to_series()
    assert found.to_list() == [None, "shop/b", None, None, None]
