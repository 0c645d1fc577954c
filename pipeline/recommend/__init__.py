"""Advice from history: pure functions from rollups to recommendations in a neutral form.

``RULES`` is all the advice that is given, in the order in which it is shown. A rule never knows a
vendor; ``pipeline/render`` speaks their languages.
"""

from datetime import datetime
from typing import Final

import polars as pl

from pipeline.model.policy import Recommendation
from pipeline.recommend.rule import Rule
from pipeline.recommend.timeouts import Timeouts

RULES: Final[tuple[Rule, ...]] = (Timeouts(),)
"""All rules."""


def recommend(edges: pl.DataFrame, *, start: datetime, end: datetime) -> list[Recommendation]:
    """The advice of all rules for rows of ``edge_minutes`` from ``start`` to ``end``."""
    return [advice for rule in RULES for advice in rule.recommend(edges, start=start, end=end)]
