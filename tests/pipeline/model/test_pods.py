"""Whose log a file is, by its path, and the line that says so."""

import pytest
from hypothesis import given, strategies as st

from pipeline.model.pods import POD_PREFIX, ContainerLog

UID = "8d1b2c3d-1111-2222-3333-444455556666"
CART = ContainerLog("shop", "cart-6d5f8c7b9-x2x7q", "istio-proxy")


@pytest.mark.parametrize(
    "path",
    [
        f"/var/log/pods/shop_{CART.pod}_{UID}/istio-proxy/0.log",
        f"/host/var/log/pods/shop_{CART.pod}_{UID}/istio-proxy/12.log.20260302-101533",
        f"/var/log/pods/shop_{CART.pod}_0123456789abcdef0123456789abcdef/istio-proxy/1.log",
        f"/var/log/containers/{CART.pod}_shop_istio-proxy-{'0a' * 32}.log",
    ],
)
def test_the_path_says_whose_log_it_is(path: str) -> None:
    assert ContainerLog.of_path(path) == CART


def test_names_may_have_dots_and_dashes() -> None:
    path = f"/var/log/containers/etcd-node.local_kube-system_etcd-x-{'0' * 64}.log"
    assert ContainerLog.of_path(path) == ContainerLog("kube-system", "etcd-node.local", "etcd-x")


@pytest.mark.parametrize(
    "path",
    [
        "/var/log/nginx/access.log",
        "/var/log/pods/shop_cart_0/istio-proxy/0.log",
        f"/var/log/pods/shop_cart_{UID}/istio-proxy/access.log",
        f"/var/log/pods/Shop_cart_{UID}/istio-proxy/0.log",
        "/var/log/containers/cart_shop_istio-proxy.log",
        f"/var/lib/docker/containers/{'0a' * 32}/{'0a' * 32}-json.log",
    ],
)
def test_other_paths_say_nothing(path: str) -> None:
    assert ContainerLog.of_path(path) is None


def test_a_line_says_it_again() -> None:
    assert CART.line().count(b"\n") == 1
    assert ContainerLog.of(CART.line()) == CART


@given(st.binary(max_size=60))
def test_any_other_line_says_nothing(some: bytes) -> None:
    assert ContainerLog.of(some) is None
    assert ContainerLog.of(POD_PREFIX + some) is None
