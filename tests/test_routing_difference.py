"""What another configuration means for the models that run."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.keys import MODEL
from llama_swap.config.model import Capabilities, Compat, Config, Filters, Timeouts
from llama_swap.routing.difference import LIVE, Difference, is_served, stale
from llama_swap.scheduling.commands import Target
from tests.fakes import make_config, make_model

ROOT = Path(__file__).parents[1]


class DifferenceTests(SynchronousTestCase):
    """`Difference`."""

    def test_kinds(self) -> None:
        """A model is new, changed, removed, or of no interest."""
        old = make_config(["same", "changed", "removed"])
        new = Config(models={**old.models, "changed": make_model("changed", 1), "new": make_model("new")})
        del new.models["removed"]  # type: ignore[attr-defined]
        difference = Difference.between(old, new)
        self.assertEqual(str(difference), "new: new; changed: changed; removed: removed")
        self.assertEqual(str(Difference.between(old, old)), "same models")


class StaleTests(SynchronousTestCase):
    """`stale`."""

    def test_process(self) -> None:
        """A process whose command, environment or address is another now has to go; so has that of a removed model."""
        model = make_model("m")
        for change in ({"cmd": ("other",)}, {"env": {"A": "1"}}, {"proxy": "http://127.0.0.1:1"}):
            self.assertEqual(stale([model], Config(models={"m": evolve(model, **change)})), {"m"}, change)
        self.assertEqual(stale([model], Config(models={})), {"m"})
        self.assertEqual(stale([model], Config(models={"m": make_model("m"), "n": make_model("n")})), frozenset())

    def test_live(self) -> None:
        """What only this proxy acts on does not end a process."""
        values = {"aliases": ("x",), "ttl": 5, "unload_timeout": 1, "concurrency_limit": 2, "unlisted": True}
        values |= {
            "metadata": {"a": 1},
            "capabilities": Capabilities(tools=True),
            "timeouts": Timeouts(connect=1),
            "disable_keep_alives": True,
            "compat": Compat(ignore_websockets=True),
            "send_loading_state": True,
            "filters": Filters(strip_params=("a",)),
        }
        names = dict.fromkeys(("name", "description", "use_model_name"), "other")
        self.assertEqual({*values, *names}, set(LIVE))
        model = make_model("m")
        self.assertEqual(stale([model], Config(models={"m": evolve(model, **values, **names)})), frozenset())

    def test_manual(self) -> None:
        """The manual names each key of a model: those for which its process must go, and those for which it stays."""
        text = (ROOT / "docs" / "operations.md").read_text()
        stops = text.partition("- A model whose `cmd`")[2].partition("finishes the answers")[0]
        stays = text.partition("- What its process knows nothing of changes without a stop:")[2].partition("\n- ")[0]
        names = {key.name: key.attribute for key in MODEL if key.name != "macros"}  # which are part of the others
        self.assertEqual({names[key] for key in re.findall(r"`(\w+)`", stays)}, set(LIVE))
        self.assertEqual({names[key] for key in re.findall(r"`(\w+)`", f"`cmd`{stops}")}, {*names.values()} - set(LIVE))


class IsServedTests(SynchronousTestCase):
    """`is_served`."""

    def test_targets(self) -> None:
        """A model must be there, and in its profile if it was asked for through one."""
        config = make_config(["a", "b"], {"p": "a"})
        served = [Target("a"), Target("b"), Target("a", "p")]
        gone = [Target("c"), Target("b", "p"), Target("a", "q")]
        self.assertEqual([is_served(target, config) for target in served + gone], [True] * 3 + [False] * 3)
