"""The regular expressions by which requests are read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies import json_grammar, urlencoded
from llama_swap.server import channel, heads


class PatternTests(SynchronousTestCase):
    """What must hold of all of them."""

    def test_no_possessive_groups(self) -> None:
        """Python 3.11.2, which is Debian 12's, takes half a group for a whole one where it is repeated possessively."""
        grammar = (
            json_grammar.element(),
            json_grammar.elements(),
            json_grammar.member(),
            json_grammar.members(),
            json_grammar.members_but("model"),
            json_grammar.TOKEN,
            json_grammar.REST_OF_STRING,
            json_grammar.CUT_SCALAR,
            json_grammar.CUT_ESCAPE,
        )
        others = (heads._HEAD, heads._FIELDS, heads._FIRST_LINE, channel._EMPTY_LINES, urlencoded._FIELD)
        for pattern in (*grammar, *others):
            text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
            self.assertNotRegex(text, r"\)[*+?]\+")
