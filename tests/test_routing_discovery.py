"""What peers have of which the configuration does not say it, and whether they answer."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Peer, Timeouts
from llama_swap.errors import Cancelled, UpstreamError
from llama_swap.http.headers import Fields
from llama_swap.routing.discovery import AGAIN, AT_LEAST, EVERY, PATIENCE, Discovery, judge, models_in
from llama_swap.routing.peers import PeerModel, Peers, Seen

LISTED = Peer(proxy="http://listed", models=("l",))
OPEN = Peer(proxy="http://open/base", api_key="theirs")
NEW = Peer(proxy="http://new")


def answer_with(*ids: str, **more: Any) -> bytes:
    """Return an answer of `/v1/models`."""
    return json.dumps({"object": "list", "data": [{"id": id_, **more} for id_ in ids]}).encode()


class AnswerTests(SynchronousTestCase):
    """`models_in`."""

    def test_ids(self) -> None:
        """Each once, in their order; what cannot be a name is left out."""
        self.assertEqual(models_in(answer_with("b", "a", "b", "", "x\ny", "\ud800")), ("b", "a"))
        self.assertEqual(models_in(b'{"data": [{"id": 1}, {"id": "a", "meta": null}]}'), ("a",))
        self.assertEqual(models_in(b'{"data": []}'), ())

    def test_peers_of_peers(self) -> None:
        """Two that are peers of each other do not tell each other their own models for ever."""
        self.assertEqual(models_in(answer_with("p/a", meta={"llamaswap": {"type": "peer"}})), ())
        self.assertEqual(models_in(answer_with("a", meta={"llamaswap": {"type": "model"}})), ("a",))

    def test_bad(self) -> None:
        """Whatever else there is is one error."""
        for text in (
            "",
            "<html>",
            "[]",
            "null",
            "{}",
            '{"data": null}',
            '{"data": [1]}',
            '{"data": [{}]}',
            "[" * 100_000,
        ):
            self.assertRaises(UpstreamError, models_in, text.encode())
        for body in (b"\xff", b'{"data": [{"id": "\xff"}]}'):
            self.assertRaises(UpstreamError, models_in, body)


class JudgementTests(SynchronousTestCase):
    """`judge`."""

    def test_statuses(self) -> None:
        """Who refuses the question is there; who says that the server behind is not there is not."""
        for status in (200, 401, 404, 429, 500):
            judge(status)
        for status in (502, 503, 504):
            self.assertRaises(UpstreamError, judge, status)


class DiscoveryCase(SynchronousTestCase):
    """Peers on a clock; what they are asked waits for the test to answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, Fields, Deferred[bytes]]] = []
        self.probed: list[tuple[str, Fields, Deferred[int]]] = []
        self.cancelled = 0
        self.peers = Peers({"listed": LISTED, "open": OPEN})
        self.discovery = Discovery(self.peers, self.clock, self.fetch, self.probe)
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

    def pending(self) -> Deferred[Any]:
        """Return something to wait for, whose cancellation counts."""

        def cancel(_: object) -> None:
            self.cancelled += 1

        return Deferred(cancel)

    def fetch(self, url: str, fields: Fields) -> Deferred[bytes]:
        """Note who is asked for its models, and with what."""
        if self.broken:
            raise ValueError("no TLS on this machine")
        answer = self.pending()
        self.asked.append((url, fields, answer))
        return answer

    def probe(self, url: str, fields: Fields) -> Deferred[int]:
        """Note who is asked for any answer."""
        answer = self.pending()
        self.probed.append((url, fields, answer))
        return answer

    def answer(self, *ids: str) -> None:
        """Let the peer that was asked first answer."""
        self.asked.pop(0)[2].callback(answer_with(*ids))

    def names(self) -> list[str]:
        """Return what is listed of peers."""
        return [str(model) for model in self.peers.models()]


class DiscoveryTests(DiscoveryCase):
    """`Discovery` of what a peer has."""

    def test_asks(self) -> None:
        """At the start and every minute, with the peer's key."""
        self.assertEqual(self.names(), ["listed/l"])
        [(url, fields, _)] = self.asked
        self.assertEqual(url, "http://open/base/v1/models")
        self.assertEqual(fields, [(b"Authorization", b"Bearer theirs"), (b"x-api-key", b"theirs")])
        self.answer("a", "b")
        self.assertEqual(self.names(), ["listed/l", "open/a", "open/b"])
        seen = self.peers.seen["open"]
        self.clock.advance(59)
        self.assertEqual(self.asked, [])
        self.clock.advance(1)
        self.answer("a", "b")
        self.assertIs(self.peers.seen["open"], seen)
        self.clock.advance(60)
        self.answer("c")
        self.assertEqual(self.names(), ["listed/l", "open/c"])

    def test_unreachable(self) -> None:
        """It is asked every 10 s, and the last list stays; that is said once, and once more when it is over."""
        self.answer("a")
        self.clock.advance(EVERY)
        for _ in range(3):
            self.asked.pop()[2].errback(UpstreamError("gone"))
            self.assertEqual(self.names(), ["listed/l", "open/a"])
            self.assertFalse(self.peers.answers("open"))
            self.clock.advance(9)
            self.assertEqual(self.asked, [])
            self.clock.advance(1)
        [line] = [line for line in self.lines if "open" in line]
        self.assertIn("peer open does not answer http://open/base/v1/models as it should: gone", line)
        self.assertNotIn("theirs", line)
        self.answer("b")
        self.assertEqual(self.names(), ["listed/l", "open/b"])
        self.assertTrue(self.peers.answers("open"))
        self.assertIn("peer open answers again", self.lines)

    def test_bad_answer(self) -> None:
        """One that is no list counts as none."""
        self.asked.pop()[2].callback(b"<html>")
        self.assertFalse(self.peers.answers("open"))
        self.assertIn("not a list of models", self.lines[0])

    def test_silent(self) -> None:
        """A peer that does not answer is given up, and asked again."""
        self.probed.pop()[2].callback(200)
        self.clock.advance(PATIENCE)
        self.assertEqual(self.cancelled, 1)
        self.assertIn("no whole answer within 10 s", self.lines[0])
        self.asked.clear()
        self.clock.advance(AGAIN)
        self.answer("a")
        self.assertEqual(self.names(), ["listed/l", "open/a"])

    def test_stop(self) -> None:
        """Nothing goes on, and nothing is said of what was cut."""
        self.discovery.stopService()
        self.assertEqual(self.cancelled, 2)
        self.discovery.follow()
        self.peers.doubt("open")
        self.assertEqual((len(self.asked), self.lines), (1, []))

    def test_stop_at_the_head(self) -> None:
        """Who is stopped asks no more, also if a cancelled question turns out to have been answered."""

        def probe(url: str, fields: Fields) -> Deferred[int]:
            return Deferred(lambda answer: answer.callback(200))

        self.discovery.stopService()
        self.discovery = Discovery(self.peers, self.clock, self.fetch, probe)
        self.discovery.startService()
        self.discovery.stopService()
        self.assertEqual((self.clock.getDelayedCalls(), self.peers.seen), ([], {}))

    def test_stop_between(self) -> None:
        """Nor is a question that was yet to come."""
        self.answer("a")
        self.probed.pop()[2].callback(200)
        self.discovery.stopService()
        self.assertEqual((self.cancelled, self.clock.getDelayedCalls()), (0, []))

    def test_cannot_be_asked(self) -> None:
        """Whatever goes wrong before the question is sent, the next one is asked."""
        self.answer("a")
        self.broken = True
        self.clock.advance(EVERY)
        self.assertEqual(self.names(), ["listed/l", "open/a"])
        self.broken = False
        self.clock.advance(AGAIN)
        self.answer("b")
        self.assertEqual(self.names(), ["listed/l", "open/b"])


class HealthTests(DiscoveryCase):
    """`Discovery` of whether a peer is there."""

    def test_asks(self) -> None:
        """Whose models are known is asked for any answer."""
        [(url, fields, answer)] = self.probed
        self.assertEqual((url, fields), ("http://listed/v1/models", ()))
        self.assertNotIn("listed", self.peers.seen)
        answer.callback(404)
        self.assertEqual(self.peers.seen["listed"], Seen(None, answers=True))
        self.clock.advance(EVERY)
        self.probed.pop()[2].callback(503)
        self.assertFalse(self.peers.answers("listed"))
        self.assertEqual(self.names(), ["listed/l"])
        self.assertIn("it answers with status 503", " ".join(self.lines))

    def test_hurry(self) -> None:
        """Where a request fares otherwise than expected, the peer is asked soon, but not again and again."""
        model = PeerModel("listed", "l")
        self.probed.pop()[2].callback(200)
        for error in (UpstreamError("refused"), None):
            self.clock.advance(1)
            for _ in range(3):
                self.peers.begin(model)
                self.peers.end(model, error)
            self.clock.advance(AT_LEAST - 1.5)
            self.assertEqual(self.probed, [])
            self.clock.advance(0.5)
            self.probed.pop()[2].callback(502 if error else 200)
            self.assertEqual(self.peers.answers("listed"), error is None)
        self.clock.advance(AT_LEAST)
        self.assertEqual(self.probed, [])

    def test_hurry_after_a_long_time(self) -> None:
        """Then it is asked at once."""
        self.probed.pop()[2].callback(200)
        self.clock.advance(AT_LEAST)
        self.peers.doubt("listed")
        self.clock.advance(0)
        self.assertEqual(len(self.probed), 1)
        self.peers.doubt("listed")  # is being asked
        self.peers.doubt("nobody")

    def test_expected(self) -> None:
        """A request that fares as expected, or is given up, is no reason to ask."""
        model = PeerModel("listed", "l")
        doubted: list[str] = []
        self.peers.doubt = doubted.append
        for answers, error in ((True, None), (True, Cancelled("left")), (False, UpstreamError("refused"))):
            self.peers.saw("listed", Seen(answers=answers))
            self.peers.begin(model)
            self.peers.end(model, error)
        self.assertEqual(doubted, [])


class ReloadTests(DiscoveryCase):
    """Another configuration."""

    def follow(self, **peers: Peer) -> None:
        """Have other peers from now on."""
        self.peers.follow(peers)
        self.discovery.follow()

    def test_same(self) -> None:
        """What is asked in the same way is not asked anew."""
        self.answer("a")
        self.probed.clear()
        self.follow(open=evolve(OPEN, timeouts=Timeouts()), listed=evolve(LISTED, models=("k",)), new=NEW)
        self.assertEqual([url for url, _, _ in self.asked], ["http://new/v1/models"])
        self.answer("n")
        self.assertEqual((self.names(), self.probed), (["open/a", "listed/k", "new/n"], []))

    def test_elsewhere(self) -> None:
        """What a peer had at another address, or showed to another key, does not count."""
        self.answer("a")
        for changed in (evolve(OPEN, proxy="http://moved"), evolve(OPEN, proxy="http://moved", api_key="other")):
            self.follow(open=changed)
            self.assertEqual(self.names(), [])
            self.answer("a")
            self.assertEqual(self.names(), ["open/a"])

    def test_gone(self) -> None:
        """Nobody is asked who is not a peer any more, or for models that are in the file now."""
        self.follow(open=evolve(OPEN, models=("m",)))
        self.assertEqual(self.cancelled, 2)
        self.assertEqual(self.names(), ["open/m"])
        self.assertEqual([url for url, _, _ in self.probed], ["http://listed/v1/models", "http://open/base/v1/models"])
        self.follow()
        self.clock.advance(EVERY)
        self.assertEqual((len(self.asked), self.cancelled, self.peers.seen, self.lines), (1, 3, {}, []))
