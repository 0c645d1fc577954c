"""What answers about identities look like; see ``schemas``."""

from typing import Literal

from pydantic import Field

from api.schemas import Answer, Count, Page, Ratio, WindowAnswer


class Stood(Answer):
    """One of several nodes that an alias stood for."""

    node: str = Field(examples=["shop/cart"])
    seen: Count = Field(description="How many tellings said so.", examples=[120])


class Conflict(Answer):
    """A name or address that stood for more than one node."""

    client: str | None = Field(description="Node id of who uses the alias; null when anybody does.")
    alias: str = Field(examples=["10.0.0.7:8080"])
    node: str = Field(description="The node that is taken for it.", examples=["shop/cart"])
    seen: Count = Field(description="How many tellings know the alias.", examples=[130])
    share: Ratio = Field(description="Share of these that say `node`.", examples=[0.92])
    nodes: list[Stood]


class Conflicts(Page, WindowAnswer):
    """Names that do not name one node."""

    items: list[Conflict]


class Link(Answer):
    """A probable caller of a service."""

    client: str | None = Field(description="Node id of the caller; null when none was found.")
    server: str = Field(examples=["shop/cart"])
    requests: Count = Field(description="Entries of the service that were linked with it.")
    linked_by: Literal["statistics"] | None = Field(description="How; null with no caller.")
    link_confidence: Ratio | None = Field(
        description="Mean probability that the links are right, as estimated.", examples=[0.93]
    )


class Links(Page, WindowAnswer):
    """Probable callers."""

    entries: Count = Field(description="Access log entries without ids that were looked at.")
    complete: bool = Field(description="False when the window holds more of them.")
    items: list[Link]
