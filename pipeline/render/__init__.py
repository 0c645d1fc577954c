"""Recommendations to the native documents of control planes: pure, and only ever from the policy.

``RENDERERS`` is all planes that are spoken. A plane that cannot express an advice says so.
"""

from typing import Final

from pipeline.model.policy import Recommendation
from pipeline.render.envoy import Envoy
from pipeline.render.istio import Istio
from pipeline.render.renderer import Manifest, Renderer, Unsupported

RENDERERS: Final[tuple[Renderer, ...]] = (Envoy(), Istio())
"""All planes, in the order in which they are shown."""


def render_all(recommendation: Recommendation) -> list[Manifest | Unsupported]:
    """What every plane says to a recommendation, in the order of ``RENDERERS``."""
    return [renderer.render(recommendation) for renderer in RENDERERS]
