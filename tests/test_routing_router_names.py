"""The names by which the router knows models: pins, selectors, which know what runs, and models of peers."""

from __future__ import annotations

from attrs import evolve

from llama_swap.config.model import Peer, PinProfile, Selector
from llama_swap.errors import NotFound
from llama_swap.routing.peers import PeerModel, Seen
from llama_swap.scheduling.commands import Target
from tests.support_routing import RouterCase

FAR = Peer(proxy="http://far")


class NameTests(RouterCase):
    """A router with all of these."""

    def setUp(self) -> None:
        selectors = {"any": Selector(strategy="warm", targets=("a", "b"))}
        profiles = {"q": PinProfile(pins={"x": "c"})}
        self.make_router({"selectors": selectors, "pin_profiles": profiles, "peers": {"far": FAR}})

    def test_active_profile(self) -> None:
        """Its pins hold until another one is active, or none, or another configuration is followed."""
        self.assertRaises(NotFound, self.router.names.resolve, "x")
        self.router.activate("q")
        self.assertEqual(self.router.names.resolve("x").target, Target("c"))
        self.router.activate(None)
        self.assertRaises(NotFound, self.router.names.resolve, "x")
        self.router.activate("q")
        self.assertRaises(NotFound, self.router.activate, "other")
        self.assertEqual(self.router.names.active, "q")
        self.router.follow(self.router.config)
        self.assertIsNone(self.router.names.active)

    def test_selectors_see_what_runs(self) -> None:
        """The target of a selector is chosen by the models' states, whatever profile is active, and after a reload."""
        self.assertEqual(self.router.names.resolve("any").target, Target("a"))
        self.load("b").release()
        self.assertEqual(self.router.names.resolve("any").target, Target("b"))
        self.router.activate("q")
        self.assertEqual(self.router.names.resolve("any").target, Target("b"))
        self.router.follow(self.router.config)
        self.assertEqual(self.router.names.resolve("any").target, Target("b"))

    def spread(self, *targets: str) -> None:
        """Have a selector `any` that gives each of `targets` two requests at a time before it wakes the next."""
        selector = Selector(strategy="spillover", targets=targets, spillover=2)
        self.make_router({"selectors": {"any": selector}, "peers": {"far": FAR}})

    def test_spillover_counts_all(self) -> None:
        """A target has as many requests as it answers, and as wait for it."""
        self.spread("a", "b")
        waiting = [self.acquire("a")]
        self.assertEqual(self.router.names.resolve("any").target, Target("a"))
        waiting.append(self.acquire("a"))
        self.assertEqual(self.router.waiting(), 2)
        self.assertEqual(self.router.names.resolve("any").target, Target("b"))
        self.make_ready("a")
        self.assertEqual(self.router.names.resolve("any").target, Target("b"))
        self.successResultOf(waiting[0]).release()
        self.assertEqual(self.router.names.resolve("any").target, Target("a"))
        self.successResultOf(waiting[1]).release()

    def test_spillover_to_a_peer(self) -> None:
        """The same goes for a model of a peer."""
        self.spread("far/m", "a")
        model = PeerModel("far", "m")
        for expected in (model, model, Target("a")):
            self.assertEqual(self.router.names.resolve("any").target, expected)
            self.router.peers.begin(model)

    def test_what_peers_show(self) -> None:
        """A model that a peer is found to have can be asked for at once, now and after a reload, by all its names."""
        for _ in range(2):
            self.assertIsNone(self.router.names.find("n"))
            self.router.peers.saw("far", Seen(("n",)))
            self.assertEqual(self.router.names.find("n"), PeerModel("far", "n"))
            self.router.peers.forget("far")
            self.router.follow(self.router.config)

    def test_peers_that_came_and_went(self) -> None:
        """After a reload, the peers are those of the new configuration."""
        self.router.follow(evolve(self.router.config, peers={"near": evolve(FAR, models=("m",))}))
        self.assertEqual(self.router.names.find("m"), PeerModel("near", "m"))
        self.router.follow(evolve(self.router.config, peers={}))
        self.assertIsNone(self.router.names.find("m"))
