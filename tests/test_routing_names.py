"""What a client may call a model, and what the model's own server is told."""

from __future__ import annotations

from difflib import SequenceMatcher

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, Peer, PinProfile, Selector
from llama_swap.errors import NotFound
from llama_swap.routing.names import LONGEST_NAME, LONGEST_SLIP, MOST_LIKELY, Names, Resolved
from llama_swap.routing.peers import PeerModel
from llama_swap.routing.selection import Usage
from llama_swap.scheduling.commands import Target
from tests.fakes import make_model


class NamesTests(SynchronousTestCase):
    """Ids, aliases, and members of profiles."""

    def setUp(self) -> None:
        models = {
            "qwen": make_model("qwen", aliases=("gpt-4", "org/coder")),
            "llama": make_model("llama", use_model_name="llama-3.2-1b"),
            "a:b": make_model("a:b"),
        }
        self.names = Names(Config(models=models, profiles={"coding": ("qwen", "llama"), "a": ("llama",)}))

    def not_found(self, name: str) -> str:
        """Return the error for a name that nobody has."""
        return str(self.assertRaises(NotFound, self.names.resolve, name))

    def test_ids_and_aliases(self) -> None:
        """Both name the model; they are compared as they are written."""
        for name in ("qwen", "gpt-4", "org/coder"):
            self.assertEqual(self.names.resolve(name).target, Target("qwen"))
            self.assertEqual(self.names.model_id(name), "qwen")
        for name in ("Qwen", " qwen", "qwen ", ""):
            self.assertIsNone(self.names.model_id(name))
            self.assertIsNone(self.names.find(name))

    def test_members_of_profiles(self) -> None:
        """A member is named by its profile and its id, or one of its aliases."""
        self.assertEqual(self.names.resolve("coding:qwen").target, Target("qwen", "coding"))
        self.assertEqual(self.names.resolve("coding:gpt-4").target, Target("qwen", "coding"))
        self.assertIsNone(self.names.model_id("coding:qwen"))

    def test_whole_names_first(self) -> None:
        """A name with a colon that is an id is that model, though a profile goes by what stands before the colon."""
        self.assertEqual(self.names.resolve("a:b").target, Target("a:b"))
        self.assertEqual(self.names.resolve("a:llama").target, Target("llama", "a"))

    def test_splits_at_the_first_colon(self) -> None:
        """What follows the first colon is the member, further colons included."""
        self.assertIn("'b:c'", self.not_found("a:b:c"))

    def test_profile_alone(self) -> None:
        """The name of a list profile is none of a model, nor that of a member."""
        self.assertIsNone(self.names.find("coding"))
        self.assertIn("no model 'coding' here", self.not_found("coding"))

    def test_unknown(self) -> None:
        """The error names what was asked for, and where the names are listed."""
        for name in ("gpt-5", "nobody:qwen", ":qwen", ":", "qwen:"):
            error = self.not_found(name)
            self.assertIn(repr(name), error)
            self.assertIn("/v1/models", error)

    def test_too_long(self) -> None:
        """What no model can be called is not told in full, nor asked of a peer."""
        names = Names(Config(models={}, peers={"any": Peer(proxy="http://any")}))
        self.assertEqual(names.resolve("any/" + "m" * (LONGEST_NAME - 4)).name, "m" * (LONGEST_NAME - 4))
        for name in ("any/" + "m" * LONGEST_NAME, "m" * 1_000_000):
            self.assertLess(len(str(self.assertRaises(NotFound, names.resolve, name))), 100)

    def test_misspelled(self) -> None:
        """A name that is much like one that is listed is asked about, whatever its case; others are not given away."""
        for name in ("qwen2", "QWEN", "qwn"):
            self.assertIn("did you mean 'qwen'? GET /v1/models", self.not_found(name))
        for name in ("gemma", "qwen" * 100):
            self.assertNotIn("did you mean", self.not_found(name))
        known = "m" * LONGEST_SLIP + "x"
        names = Names(Config(models={name: make_model(name) for name in ("LLAMA", known)}))
        for name, suggests in (("llama", True), (known[:-1], True), (known[:-1] + "y", False)):
            error = str(self.assertRaises(NotFound, names.resolve, name))
            self.assertIn("? GET /v1/models" if suggests else "here; GET /v1/models", error)
        hidden = Names(Config(models={"qwen": make_model("qwen", unlisted=True)}))
        self.assertNotIn("did you mean", str(self.assertRaises(NotFound, hidden.resolve, "qwen2")))

    def test_misspelled_among_many(self) -> None:
        """However many names are much alike, it is the closest that is asked about, and few are compared as a whole."""
        ids = [f"{'a' * 80}-{size}b-q{bits}" for size in range(30) for bits in range(2, 9)]
        many = Names(Config(models={name: make_model(name) for name in ids}))
        compared: set[str] = set()
        ratio = SequenceMatcher.ratio

        def watched(pair: SequenceMatcher[str]) -> float:
            compared.add(str(pair.a))
            return ratio(pair)

        self.patch(SequenceMatcher, "ratio", watched)
        error = str(self.assertRaises(NotFound, many.resolve, f"{'a' * 80}-7b_q4"))
        self.assertLessEqual(len(compared), MOST_LIKELY)
        self.assertIn(f"did you mean '{'a' * 80}-7b-q4'?", error)

    def test_not_a_member(self) -> None:
        """A profile's name with anything but a member is an error that lists the members, also for `find`."""
        for name in ("coding:a:b", "coding:gpt-5", "coding:"):
            error = str(self.assertRaises(NotFound, self.names.find, name))
            self.assertIn("'coding'", error)
            self.assertIn("qwen, llama", error)

    def test_ids_before_aliases(self) -> None:
        """Where one model's alias is another's id, the id wins."""
        models = {"a": make_model("a", aliases=("b",)), "b": make_model("b")}
        self.assertEqual(Names(Config(models=models)).find("b"), Target("b"))

    def test_what_the_upstream_is_told(self) -> None:
        """Its own name for the model, if it has one; else what the client wrote, without the profile."""
        for name, told in [
            ("qwen", "qwen"),
            ("gpt-4", "gpt-4"),
            ("coding:gpt-4", "gpt-4"),
            ("llama", "llama-3.2-1b"),
            ("coding:llama", "llama-3.2-1b"),
            ("a:b", "a:b"),
        ]:
            self.assertEqual(self.names.resolve(name).name, told)

    def with_more(self, active: str | None = None) -> Names:
        """Return names with selectors, and with profiles of pins."""
        selectors = {
            "fast": Selector(strategy="pin", targets=("gpt-4",)),
            "small": Selector(strategy="pin", targets=("llama",)),
        }
        pins = {"gpt-5": "coding:llama", "code": "fast", "qwen": "llama", "off": None}
        config = evolve(self.names.config, selectors=selectors, pin_profiles={"p": PinProfile(pins=pins)})
        return Names(config, active)

    def test_selectors(self) -> None:
        """A selector stands for its target, and the upstream is told of that, as if the client had written it."""
        names = self.with_more()
        self.assertEqual(names.resolve("fast"), Resolved(Target("qwen"), "gpt-4"))
        self.assertEqual(names.resolve("small"), Resolved(Target("llama"), "llama-3.2-1b"))
        self.assertIsNone(names.find("fast"))

    def test_selector_of_what_is_not_known_yet(self) -> None:
        """A target that no peer has shown yet counts as one that does not run."""

        def usage(target: Target | PeerModel) -> Usage:
            self.assertEqual(target, Target("qwen"))  # nobody asks for the usage of what is not known
            return Usage("ready", 1)

        selector = Selector(strategy="spillover", targets=("qwen", "theirs"), spillover=2)
        config = evolve(self.names.config, selectors={"any": selector}, peers={"far": Peer(proxy="http://far")})
        self.assertEqual(Names(config, None, usage).resolve("any").target, Target("qwen"))

    def test_pins(self) -> None:
        """The active profile comes before everything else, and may lead to a selector."""
        names = self.with_more("p")
        self.assertEqual(names.resolve("code"), Resolved(Target("qwen"), "gpt-4"))
        self.assertEqual(names.resolve("qwen"), Resolved(Target("llama"), "llama-3.2-1b"))
        self.assertEqual(names.resolve("gpt-5").target, Target("llama", "coding"))
        self.assertEqual(names.resolve("llama").target, Target("llama"))
        self.assertIn("'p', has no model for 'off'", str(self.assertRaises(NotFound, names.resolve, "off")))
        self.assertEqual(names.refused, {"off"})

    def test_pins_of_other_profiles(self) -> None:
        """Where no profile is active, no pin holds."""
        self.assertRaises(NotFound, self.with_more().resolve, "code")
        self.assertEqual(self.with_more().resolve("qwen").target, Target("qwen"))

    def test_follows_its_configuration(self) -> None:
        """Names are a function of the configuration: another one has other names."""
        config = evolve(self.names.config, profiles={})
        self.assertIsNone(Names(config).find("coding:qwen"))
