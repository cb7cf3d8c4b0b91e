"""What peers have that do not say it in the configuration."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Peer, Timeouts
from llama_swap.errors import UpstreamError
from llama_swap.relay.headers import Fields
from llama_swap.routing.discovery import EVERY, PATIENCE, Discovery, models_in
from llama_swap.routing.peers import Peers

LISTED = Peer(proxy="http://listed", models=("l",))
OPEN = Peer(proxy="http://open/base", api_key="theirs")


def answer_with(*ids: str, **more: Any) -> bytes:
    """Return an answer of `/v1/models`."""
    return json.dumps({"object": "list", "data": [{"id": id_, **more} for id_ in ids]}).encode()


class AnswerTests(SynchronousTestCase):
    """`models_in`."""

    def test_ids(self) -> None:
        """Each once, in their order; what cannot be a name is left out."""
        self.assertEqual(models_in(answer_with("b", "a", "b", "", "x\ny")), ("b", "a"))
        self.assertEqual(models_in(b'{"data": [{"id": 1}, {"id": "a", "meta": null}]}'), ("a",))
        self.assertEqual(models_in(b'{"data": []}'), ())

    def test_peers_of_peers(self) -> None:
        """Two that are peers of each other do not tell each other their own models for ever."""
        self.assertEqual(models_in(answer_with("p/a", meta={"llamaswap": {"type": "peer"}})), ())
        self.assertEqual(models_in(answer_with("a", meta={"llamaswap": {"type": "model"}})), ("a",))

    def test_bad(self) -> None:
        """Whatever else there is is one error."""
        for body in (b"", b"<html>", b"[]", b"null", b'{"data": null}', b'{"data": [1]}', b"\xff", b"[" * 100_000):
            self.assertRaises(UpstreamError, models_in, body)


class DiscoveryCase(SynchronousTestCase):
    """Peers on a clock; what they are asked waits for the test to answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Fields, Deferred[bytes]]] = []
        self.cancelled = 0
        self.peers = Peers({"listed": LISTED, "open": OPEN})
        self.discovery = Discovery(self.peers, self.clock, self.fetch)
        self.broken = False
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)
        self.discovery.startService()

    def tearDown(self) -> None:
        if self.discovery.running:
            self.discovery.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def note(self, event: dict[str, Any]) -> None:
        """Keep a line of the log."""
        self.lines.append(formatEvent(event))

    def fetch(self, url: str, fields: Fields) -> Deferred[bytes]:
        """Note who is asked, and with what."""

        def cancel(_: object) -> None:
            self.cancelled += 1

        if self.broken:
            raise ValueError("no TLS on this machine")
        answer: Deferred[bytes] = Deferred(cancel)
        self.asked.append((url, fields, answer))
        return answer

    def answer(self, *ids: str) -> None:
        """Let the peer that was asked first answer."""
        self.asked.pop(0)[2].callback(answer_with(*ids))

    def names(self) -> list[str]:
        """Return what is listed of peers."""
        return [str(model) for model in self.peers.models()]


class DiscoveryTests(DiscoveryCase):
    """`Discovery`."""

    def test_asks(self) -> None:
        """At the start and every minute, with the peer's key; only those that do not say what they have."""
        self.assertEqual(self.names(), ["listed/l"])
        [(url, fields, _)] = self.asked
        self.assertEqual(url, "http://open/base/v1/models")
        self.assertEqual(fields, [(b"Authorization", b"Bearer theirs"), (b"x-api-key", b"theirs")])
        self.answer("a", "b")
        self.assertEqual(self.names(), ["listed/l", "open/a", "open/b"])
        seen = self.peers.seen
        self.clock.advance(EVERY)
        self.answer("a", "b")
        self.assertIs(self.peers.seen, seen)
        self.clock.advance(EVERY)
        self.answer("c")
        self.assertEqual(self.names(), ["listed/l", "open/c"])
        self.assertEqual(self.lines, [])

    def test_unreachable(self) -> None:
        """The last list stays; that is said once, and once more when it is over."""
        self.answer("a")
        for _ in range(3):
            self.clock.advance(EVERY)
            self.asked.pop()[2].errback(UpstreamError("gone"))
            self.assertEqual(self.names(), ["listed/l", "open/a"])
            self.assertFalse(self.peers.answers("open"))
        self.assertEqual(len(self.lines), 1)
        self.assertIn("peer open does not say at http://open/base/v1/models what it has: gone", self.lines[0])
        self.assertNotIn("theirs", self.lines[0])
        self.clock.advance(EVERY)
        self.answer("b")
        self.assertEqual(self.names(), ["listed/l", "open/b"])
        self.assertTrue(self.peers.answers("open"))
        self.assertIn("peer open answers again", self.lines[1])

    def test_bad_answer(self) -> None:
        """One that is no list counts as none."""
        self.asked.pop()[2].callback(b"<html>")
        self.assertFalse(self.peers.answers("open"))
        self.assertIn("not a list of models", self.lines[0])

    def test_silent(self) -> None:
        """A peer that does not answer is given up, and asked again."""
        self.clock.advance(PATIENCE)
        self.assertEqual(self.cancelled, 1)
        self.assertIn("no whole answer within 10 s", self.lines[0])
        self.asked.clear()
        self.clock.advance(EVERY - PATIENCE)
        self.answer("a")
        self.assertEqual(self.names(), ["listed/l", "open/a"])

    def test_stop(self) -> None:
        """Nothing goes on, and nothing is said of what was cut."""
        self.discovery.stopService()
        self.assertEqual(self.cancelled, 1)
        self.discovery.follow()
        self.assertEqual((len(self.asked), self.lines), (1, []))

    def test_cannot_be_asked(self) -> None:
        """Whatever goes wrong before the question is sent, the next one is asked."""
        self.answer("a")
        self.broken = True
        self.clock.pump([EVERY] * 2)
        self.assertEqual(self.names(), ["listed/l", "open/a"])
        self.assertEqual(len(self.lines), 1)


class ReloadTests(DiscoveryCase):
    """Another configuration."""

    def follow(self, **peers: Peer) -> None:
        """Have other peers from now on."""
        self.peers.configured = peers
        self.discovery.follow()

    def test_same(self) -> None:
        """What is reached in the same way is not asked anew."""
        self.answer("a")
        self.follow(open=evolve(OPEN, timeouts=Timeouts()), new=Peer(proxy="http://new"))
        self.assertEqual([url for url, _, _ in self.asked], ["http://new/v1/models"])
        self.answer("n")
        self.assertEqual(self.names(), ["open/a", "new/n"])

    def test_elsewhere(self) -> None:
        """What a peer had at another address, or showed to another key, does not count."""
        self.answer("a")
        for changed in (evolve(OPEN, proxy="http://moved"), evolve(OPEN, proxy="http://moved", api_key="other")):
            self.follow(open=changed)
            self.assertEqual(self.names(), [])
            self.answer("a")
            self.assertEqual(self.names(), ["open/a"])

    def test_gone(self) -> None:
        """Nobody is asked who is not a peer any more, or whose models are in the file."""
        self.follow(open=evolve(OPEN, models=("m",)))
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.names(), ["open/m"])
        self.follow()
        self.clock.advance(EVERY)
        self.assertEqual((len(self.asked), self.peers.seen, self.lines), (1, {}, []))
