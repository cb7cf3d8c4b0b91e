"""What peers have, by every name that a request may use."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Peer, Selector
from llama_swap.errors import NotFound
from llama_swap.routing.names import Names, Resolved
from llama_swap.routing.peers import PeerModel, Peers, Seen
from llama_swap.routing.selection import Usage
from llama_swap.scheduling.commands import Target
from tests.fakes import make_config
from tests.support_routing import RouterCase

PEERS = {
    "one": Peer(proxy="http://one", models=("m", "org/n", "a", "gpt")),
    "two": Peer(proxy="http://two", models=("m",)),
    "any": Peer(proxy="http://any"),
}


class NameTests(SynchronousTestCase):
    """`Names` with peers."""

    def setUp(self) -> None:
        config = make_config(["a"], aliases=("gpt",))
        self.names = Names(evolve(config, peers=PEERS))

    def test_qualified(self) -> None:
        """The name of a peer and that of its model; the peer is told its own name for it."""
        self.assertEqual(self.names.resolve("one/m"), Resolved(PeerModel("one", "m"), "m"))
        self.assertEqual(self.names.resolve("one/org/n"), Resolved(PeerModel("one", "org/n"), "org/n"))

    def test_bare(self) -> None:
        """The model alone, where only one peer has it."""
        self.assertEqual(self.names.resolve("org/n"), Resolved(PeerModel("one", "org/n"), "org/n"))
        self.assertRaises(NotFound, self.names.resolve, "m")

    def test_own_models_first(self) -> None:
        """Ids and aliases win over what peers have."""
        self.assertEqual(self.names.resolve("a").target, Target("a"))
        self.assertEqual(self.names.resolve("gpt").target, Target("a"))
        self.assertEqual(self.names.resolve("one/a").target, PeerModel("one", "a"))

    def test_unknown(self) -> None:
        """A peer that says what it has has nothing else; one that does not is asked for anything."""
        self.assertRaises(NotFound, self.names.resolve, "one/other")
        self.assertRaises(NotFound, self.names.resolve, "any/")
        self.assertEqual(self.names.resolve("any/x/y"), Resolved(PeerModel("any", "x/y"), "x/y"))
        self.assertIsNone(self.names.find("any/x/y"))

    def test_counted_as(self) -> None:
        """What nobody but clients says that a peer has is counted together; it may turn out to be there."""
        peers = self.names.peers
        for peer, model, name in (("one", "m", "one/m"), ("one", "x", "one/*"), ("any", "q", "any/*")):
            self.assertEqual(peers.counted_as(PeerModel(peer, model)), name)
        peers.saw("any", Seen(("q",)))
        self.assertEqual([peers.counted_as(PeerModel("any", model)) for model in "qr"], ["any/q", "any/*"])

    def test_said(self) -> None:
        """What a peer says that it has goes by the same names; below `/upstream/`, too."""
        self.names.peers.saw("any", Seen(("q", "org/r", "gpt", "m", "org/n")))
        for name in ("q", "any/q"):
            self.assertEqual(self.names.find(name), PeerModel("any", "q"))
            self.assertEqual(self.names.resolve(name), Resolved(PeerModel("any", "q"), "q"))
        self.assertEqual(self.names.find("org/r"), PeerModel("any", "org/r"))
        self.assertEqual(self.names.resolve("gpt").target, Target("a"))
        self.names.peers.saw("any", Seen(("s",)))
        self.assertEqual(self.names.find("s"), PeerModel("any", "s"))
        self.assertRaises(NotFound, self.names.resolve, "q")
        self.names.peers.forget("any")
        self.assertRaises(NotFound, self.names.resolve, "s")

    def test_said_with_a_slash(self) -> None:
        """Nor does it, where its own name and that of its model make one that another has."""
        peers = Peers({"p": Peer(proxy="http://p", models=("x/y",)), "x": Peer(proxy="http://x")})
        peers.saw("x", Seen(("y",)))
        self.assertEqual(peers.find("x/y"), PeerModel("p", "x/y"))
        self.assertEqual(peers.find("y"), PeerModel("x", "y"))

    def test_said_of_others(self) -> None:
        """No peer takes a name from what the configuration says of another."""
        self.names.peers.saw("any", Seen(("m", "org/n")))
        self.assertEqual(self.names.resolve("org/n").target, PeerModel("one", "org/n"))
        error = self.assertRaises(NotFound, self.names.resolve, "m")
        self.assertIn("several peers have it, so ask for one/m or two/m or any/m", str(error))
        self.assertEqual(self.names.find("any/m"), PeerModel("any", "m"))

    def test_silent(self) -> None:
        """Of whom it is not known what it has: only who never said it, here or in the configuration."""
        peers = self.names.peers
        self.assertEqual((peers.silent("any/x/y"), peers.silent("one/x"), peers.silent("any/")), ("any", None, None))
        peers.saw("any", Seen(None, answers=False))
        self.assertEqual(peers.silent("any/x"), "any")
        peers.saw("any", Seen((), answers=False))
        self.assertIsNone(peers.silent("any/x"))

    def test_spillover_to_peers(self) -> None:
        """A peer's model is woken by a request, as one of ours; how busy it is counts in the same way."""
        selector = Selector(strategy="spillover", targets=("a", "two/m", "any/m"))
        busy: dict[object, Usage] = {Target("a"): Usage("ready", 1)}
        config = evolve(self.names.config, selectors={"s": selector})
        names = Names(config, usage=lambda target: busy.get(target, Usage()))
        self.assertEqual(names.resolve("s").target, PeerModel("two", "m"))
        busy[PeerModel("two", "m")] = Usage(requests=1)
        self.assertEqual(names.resolve("s").target, PeerModel("any", "m"))


class ClosingTests(RouterCase):
    """The end of the proxy."""

    def test_waits_for_answers_of_peers(self) -> None:
        """They may end, as those of models here may; nothing new is sent."""
        model = PeerModel("p", "m")
        self.router.peers.begin(model)
        closed = self.router.close()
        self.assertTrue(self.router.peers.closed)
        self.assertNoResult(closed)
        self.router.peers.end(model)
        self.successResultOf(closed)


class UsageTests(SynchronousTestCase):
    """`Peers` counts."""

    def test_counts(self) -> None:
        """Requests under way, model by model."""
        peers = Peers(PEERS)
        model = PeerModel("one", "m")
        peers.begin(model)
        peers.begin(model)
        peers.begin(PeerModel("two", "m"))
        peers.end(model)
        self.assertEqual(peers.requests(model), 1)
        peers.end(model)
        self.assertEqual(peers.requests(model), 0)
