r"""Regular expressions of rules, which are Go's: RE2 matches them in time linear in the text.

Python's own would mean something else by ``\d``, ``\z`` or ``(?i)`` within an expression, and one
label of a target could keep them busy for hours.
"""

import re
from functools import lru_cache
from typing import Final

import re2

Groups = tuple[str, ...]
"""What an expression matched: all of it, then each group; one that took no part is empty."""

_REMEMBERED: Final = 4096
"""Texts whose match is remembered, of each expression: names come again with every target."""

_LONGEST_REMEMBERED: Final = 256

_REFERENCE: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,7}")


class Expression:
    """A regular expression that a whole text must match; its dot matches line feeds, too.

    Args:
        text: in RE2's syntax.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        try:
            self._compiled = re2.compile(text, options)
        except re2.error as problem:
            why = problem.args[0]
            shown = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
            raise ValueError(f"a regular expression of RE2: {shown}") from None
        self._remembered = lru_cache(_REMEMBERED)(self._matched)

    def match(self, text: str) -> Groups | None:
        """What it matches of a text; None when that is not the whole text."""
        return (self._matched if len(text) > _LONGEST_REMEMBERED else self._remembered)(text)

    def expanded(self, template: str, groups: Groups) -> str:
        """A template with Go's references ``$1`` and ``${name}``; unknown ones are empty."""

        def group(reference: re.Match[str]) -> str:
            if reference[1]:
                return "$"
            name = reference[2] or reference[3]
            number = int(name) if _NUMBER.fullmatch(name) else self._compiled.groupindex.get(name)
            return groups[number] if number is not None and number < len(groups) else ""

        return _REFERENCE.sub(group, template) if "$" in template else template

    def _matched(self, text: str) -> Groups | None:
        match = self._compiled.fullmatch(text)
        return None if match is None else (text, *(group or "" for group in match.groups()))
