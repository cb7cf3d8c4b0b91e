"""Which requests are told that their model is being loaded; `tests/test_blackbox_loading_state.py` has the rest."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.spool import Spool, Spooled
from llama_swap.web.loading import wants_stream

CHAT = b"/v1/chat/completions"


class WantsStreamTests(SynchronousTestCase):
    """`wants_stream`."""

    def test_small(self) -> None:
        """Only a chat that asks for a stream does; a body that nobody has checked may be anything."""
        self.assertTrue(wants_stream(CHAT, b'{"stream":true}'))
        self.assertTrue(wants_stream(CHAT + b"?x", b'{"stream":false,"stream":true}'))
        self.assertFalse(wants_stream(b"/v1/completions", b'{"stream":true}'))
        deep, long = b"[" * 100_000, b'{"stream":true,"n":%b}' % (b"1" * 5000)
        for body in (None, b"", b"{", b"\xff", b"[]", b"{}", b'{"stream":1}', b'{"stream":"true"}', deep, long):
            self.assertFalse(wants_stream(CHAT, body), body)

    def test_large(self) -> None:
        """Of a body that is not in memory, it is known from elsewhere."""
        for streams in (True, False):
            self.assertEqual(wants_stream(CHAT, Spooled(Spool(), streams=streams)), streams)
        self.assertFalse(wants_stream(b"/v1/completions", Spooled(Spool(), streams=True)))
