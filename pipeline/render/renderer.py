"""The Renderer port: what turns a recommendation into the native document of one control plane."""

from dataclasses import dataclass
from typing import Protocol

from pipeline.model.policy import Recommendation


@dataclass(frozen=True, slots=True)
class Manifest:
    """A document that a control plane takes.

    Attributes:
        plane: name of the control plane.
        kind: what the document is in that plane's words.
        text: the document, with comments that say who made it and why.
    """

    plane: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A plane that cannot express a recommendation says so, as a value that is shown to people."""

    plane: str
    reason: str


class Renderer(Protocol):
    """One control plane's language.

    The promises, which the contract suite holds every renderer to:

    * It answers with a manifest or says why there is none; it raises nothing.
    * The same recommendation gives the same text, byte for byte.
    * Whatever stands in names and reasons, the text is one well-formed document.
    """

    @property
    def plane(self) -> str:
        """Name of the control plane."""

    def render(self, recommendation: Recommendation) -> Manifest | Unsupported:
        """The document for this plane."""
