"""What `/v1/models` says about each model."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Capabilities, Config, Peer, PinProfile, Selector
from llama_swap.errors import NotFound
from llama_swap.routing.names import Names
from llama_swap.routing.peers import Seen
from llama_swap.web.listing import Listing, abilities
from tests.fakes_web import models

ABLE = Capabilities(in_=("text", "image"), out=("text",), tools=True, context=4096)


def rows_of(config: Config, loaded: Collection[str]) -> list[dict[str, Any]]:
    """Return the entries of a configuration."""
    return entries(Listing(config, Names(config), 1), dict.fromkeys(loaded, "ready"))


def entries(listing: Listing, states: dict[str, str]) -> list[dict[str, Any]]:
    """Return what a listing says, decoded."""
    decoded: list[dict[str, Any]] = json.loads(listing.all(states))
    return decoded


class ListingTests(SynchronousTestCase):
    """`Listing`."""

    def test_abilities(self) -> None:
        """What a model can do is told in the fields that clients look for; what nobody told is left out."""
        able, plain = rows_of(Config(models={**models("a", capabilities=ABLE), **models("b")}), {"a"})
        self.assertEqual(able["capabilities"], {"vision": True, "function_calling": True})
        self.assertEqual(able["architecture"]["modality"], "text+image->text")
        self.assertEqual(able["architecture"]["input_modalities"], ["text", "image"])
        self.assertEqual(able["supported_parameters"], ["tools", "tool_choice"])
        self.assertEqual((able["context_length"], able["meta"]["n_ctx"]), (4096, 4096))
        self.assertEqual(set(plain), {"id", "object", "created", "owned_by", "meta", "status"})

    def test_what_it_is_for(self) -> None:
        """Each use that reading one thing and writing another makes possible is told by its name."""
        for reads, writes, uses in (
            (("audio",), ("text",), {"audio_transcriptions"}),
            (("text",), ("audio",), {"audio_speech"}),
            (("text",), ("image",), {"image_generation"}),
            (("image",), ("image",), {"vision", "image_to_image"}),
            (("text", "video"), ("text",), set()),
        ):
            told = abilities(Capabilities(in_=reads, out=writes))
            self.assertEqual(told.get("capabilities", {}), dict.fromkeys(uses, True))
        self.assertEqual(abilities(Capabilities(reranker=True)), {"capabilities": {"reranker": True}})
        self.assertEqual(
            abilities(Capabilities(in_=("image",))),
            {"architecture": {"input_modalities": ["image"]}, "capabilities": {"vision": True}},
        )

    def test_status(self) -> None:
        """What is coming is being loaded; of several that one name stands for, the one that came furthest counts."""
        config = Config(models=models("a", "b"), selectors={"s": Selector(strategy="warm", targets=("a", "b"))})
        for a, b, told in (
            ("starting", "stopped", ["loading", "unloaded", "loading"]),
            ("starting", "ready", ["loading", "loaded", "loaded"]),
            ("stopping", "stopped", ["unloaded", "unloaded", "unloaded"]),
        ):
            rows = entries(Listing(config, Names(config), 1), {"a": a, "b": b})
            self.assertEqual([row["status"]["value"] for row in rows], told)

    def test_metadata(self) -> None:
        """What the configuration wants told is told, beside what we know."""
        [row] = rows_of(Config(models=models("a", metadata={"k": [1, None]}, aliases=("x",))), ())
        self.assertEqual(row["meta"]["llamaswap"], {"k": [1, None], "type": "model", "aliases": ["x"]})

    def test_selectors(self) -> None:
        """A selector is listed with how it chooses, and is loaded when a target is that it may choose."""
        selector = Selector(strategy="warm", targets=("a", "b"), metadata={"k": 1})
        config = Config(models=models("a", "b"), selectors={"s": selector})
        [row] = [row for row in rows_of(config, {"b"}) if row["id"] == "s"]
        told = {"k": 1, "type": "selector", "strategy": "warm", "targets": ["a", "b"]}
        self.assertEqual(row["meta"]["llamaswap"], told)
        self.assertEqual(row["status"], {"value": "loaded"})
        for strategy, more, status in (("pin", {}, "unloaded"), ("spillover", {"spillover": 2}, "loaded")):
            config = evolve(config, selectors={"s": evolve(selector, strategy=strategy, spillover=2)})
            [row] = [row for row in rows_of(config, {"b"}) if row["id"] == "s"]
            self.assertEqual(row["meta"]["llamaswap"], {**told, "strategy": strategy, **more})
            self.assertEqual(row["status"], {"value": status})

    def test_peers(self) -> None:
        """Models of peers say whose they are, and whether that one answers, as soon as it is known."""
        config = Config(models=models("a"), peers={"p": Peer(proxy="http://p", models=("m",))})
        names = Names(config)
        for seen, more in ((None, {}), (Seen(), {"reachable": True}), (Seen(answers=False), {"reachable": False})):
            if seen is not None:
                names.peers.saw("p", seen)
            _, row = entries(Listing(config, names, 1), {})
            self.assertEqual((row["id"], row["name"], row["status"]["value"]), ("p/m", "p: m", "unloaded"))
            self.assertEqual(row["meta"]["llamaswap"], {"type": "peer", "peerID": "p", **more})

    def test_aliases(self) -> None:
        """Aliases are listed if that is wanted, but not those of unlisted models, nor the names of models."""
        hidden = models("hidden", aliases=("h",), unlisted=True)
        configured = {**hidden, **models("m", aliases=("z", "a", "m", "hidden"))}
        rows = rows_of(Config(models=configured, include_aliases_in_list=True), {"m"})
        kinds = [(row["id"], row["meta"]["llamaswap"]["type"], row["status"]["value"]) for row in rows]
        self.assertEqual(kinds, [("a", "alias", "loaded"), ("m", "model", "loaded"), ("z", "alias", "loaded")])
        metas = [row["meta"]["llamaswap"] for row in rows]
        self.assertEqual([meta.get("modelID") for meta in metas], ["m", None, "m"])
        self.assertEqual([meta.get("aliases") for meta in metas], [None, ["z", "a", "m", "hidden"], None])


class OneTests(SynchronousTestCase):
    """`Listing.one`: whatever requests may name."""

    def setUp(self) -> None:
        configured = {**models("m/1", aliases=("x",)), **models("hidden", unlisted=True)}
        self.config = Config(
            models=configured,
            selectors={"s": Selector(strategy="warm", targets=("m/1",), unlisted=True)},
            profiles={"both": ("m/1", "hidden")},
            pin_profiles={"night": PinProfile(pins={"m/1": None, "late": "hidden"})},
            peers={"p": Peer(proxy="http://p", models=("far",)), "q": Peer(proxy="http://q", models=None)},
        )

    def one(self, name: str, active: str | None = None) -> dict[str, Any]:
        """Return the entry that `name` has."""
        return Listing(self.config, Names(self.config, active), 1).one(name, {"hidden": "ready"})

    def test_listed(self) -> None:
        """What is listed is shown as it is there."""
        names = Names(self.config, "night")
        rows = [*rows_of(self.config, {"hidden"}), *entries(Listing(self.config, names, 1), {"hidden": "ready"})]
        self.assertEqual([row["id"] for row in rows], ["m/1", "p/far", "late", "p/far"])
        for row in rows:
            self.assertEqual(self.one(row["id"], "night" if row["id"] == "late" else None), row)

    def test_unlisted(self) -> None:
        """Other names that requests may use are shown, each under that name."""
        for name, kind, status in (
            ("x", "alias", "unloaded"),
            ("hidden", "model", "loaded"),
            ("s", "selector", "unloaded"),
            ("both:hidden", "model", "loaded"),
            ("far", "peer", "unloaded"),
            ("q/whatever", "peer", "unloaded"),
        ):
            row = self.one(name)
            told = (row["id"], row["meta"]["llamaswap"]["type"], row["status"]["value"])
            self.assertEqual(told, (name, kind, status))

    def test_nobody(self) -> None:
        """What nothing goes by is refused in the words that requests get, and so is what the active profile refuses."""
        for name, active in (("nobody", None), ("both:nobody", None), ("m/1", "night")):
            names = Names(self.config, active)
            expected = str(self.assertRaises(NotFound, names.resolve, name))
            self.assertEqual(str(self.assertRaises(NotFound, self.one, name, active)), expected)
        self.assertEqual(self.one("both:m/1", "night")["id"], "both:m/1")
