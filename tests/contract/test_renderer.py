"""What every renderer promises (``pipeline/render/renderer.py``)."""

import pytest
import yaml
from hypothesis import given, strategies as st

from pipeline.model.policy import PolicyTarget
from pipeline.render import RENDERERS
from pipeline.render.renderer import Renderer, Unsupported
from tests.pipeline.render.cases import HOSTILE, recommendation

NAMES = st.one_of(st.just(HOSTILE), st.text(max_size=12))


@pytest.mark.parametrize("renderer", RENDERERS, ids=[one.plane for one in RENDERERS])
@given(NAMES, st.none() | NAMES, st.none() | NAMES, NAMES)
def test_any_names_give_one_well_formed_document_or_none(
    renderer: Renderer, server: str, client: str | None, route: str | None, reason: str
) -> None:
    advice = recommendation(PolicyTarget(server, client, route), reason=reason)
    found = renderer.render(advice)
    assert renderer.render(advice) == found
    if isinstance(found, Unsupported):
        assert found.reason
        return
    (document,) = yaml.safe_load_all(found.text)
    expected = {"envoy": {"name", "virtual_hosts"}}.get(
        found.plane, {"apiVersion", "kind", "metadata", "spec"}
    )
    assert set(document) == expected
    comments = found.text.splitlines()[: found.text.count("\n# ") + 1]
    assert all(line.startswith("# ") for line in comments)
