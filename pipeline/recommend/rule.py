"""The Rule port: what turns history into advice."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from pipeline.model.policy import Recommendation


class Rule(Protocol):
    """One kind of advice.

    The promises, which the contract suite holds every rule to:

    * The same history gives the same advice with the same ids, whatever the order of its rows.
    * No advice without evidence enough: a rule that does not know says nothing.
    * Advice is neutral: nothing in it names a vendor.
    """

    @property
    def name(self) -> str:
        """A short name; part of the ids of its recommendations."""

    def recommend(
        self, edges: pl.DataFrame, *, start: datetime, end: datetime
    ) -> Sequence[Recommendation]:
        """Advice from the rows of ``edge_minutes`` (see ``model/tables.py``) from start to end."""
