"""Recommendations that renderers are tried with."""

from datetime import UTC, datetime

from pipeline.model.policy import Evidence, PolicyTarget, Recommendation, Timeout


def recommendation(target: PolicyTarget, *, reason: str = "It waits in vain.") -> Recommendation:
    """A timeout for this target."""
    return Recommendation(
        id="00f1e2d3c4b5a697",
        rule="timeouts",
        policy=Timeout(per_try_seconds=0.26, request_seconds=0.88, tries=3),
        target=target,
        reason=reason,
        evidence=(Evidence("latency_p99_9_worst_hour", 0.214, "s", "edge_minutes"),),
        expected_effect="Replayed on 10,000 healthy requests, 3 (0.030%) would have been cut.",
        confidence=0.412,
        undo="Remove the timeout and the per-try timeout.",
        start=datetime(2026, 11, 23, 10, tzinfo=UTC),
        end=datetime(2026, 11, 23, 12, tzinfo=UTC),
    )


CASES = {
    "timeout": recommendation(PolicyTarget(server="shop/cart", client="shop/frontend")),
    "timeout_for_all": recommendation(PolicyTarget(server="shop/cart")),
    "timeout_of_http_route": recommendation(
        PolicyTarget(server="shop/cart", client="edge/gateway", route="GET /carts/{id}/items.json")
    ),
    "timeout_of_rpc_method": recommendation(
        PolicyTarget(server="shop/cart", route="shop.Cart/AddItem")
    ),
    "timeout_without_namespace": recommendation(PolicyTarget(server="cart", client="frontend")),
}
"""By the name of the golden file."""

HOSTILE = 'shop\n- evil: {a: "b"}\r\u2028#/x\x85y: *z &q'
