"""Selectors, and profiles of pins: what they say, and what can be wrong with them."""

from __future__ import annotations

from llama_swap.config.model import PinProfile, Selector
from tests.support_config import FindingsTestCase, load

MODELS = "models: {a: {cmd: x --port 1}, b: {cmd: x --port 2, aliases: [bee]}, c: {cmd: x --port 3}}\n"
TOGETHER = "groups: {g: {members: [a, b], swap: false}}\n"


class SelectorTests(FindingsTestCase):
    """`selectors`."""

    def selectors(self, text: str) -> dict[str, Selector]:
        """Return the selectors of a file."""
        return dict(load(f"{MODELS}{TOGETHER}selectors: {{{text}}}").config.selectors)

    def test_strategies(self) -> None:
        """Each strategy; targets stay as they are written."""
        self.assertEqual(
            self.selectors("s: {strategy: warm, targets: [a, bee]}"),
            {"s": Selector(strategy="warm", targets=("a", "bee"))},
        )
        [pin] = self.selectors(
            "s: {strategy: pin, targets: [c], name: N, description: D, unlisted: true, metadata: {k: 1}}"
        ).values()
        expected = Selector(strategy="pin", targets=("c",), name="N", description="D", unlisted=True, metadata={"k": 1})
        self.assertEqual(pin, expected)
        [spillover] = self.selectors("s: {strategy: spillover, targets: [a, b], settings: {spillover: 4}}").values()
        self.assertEqual(spillover.spillover, 4)

    def test_none(self) -> None:
        """An empty section says nothing."""
        self.assertEqual(load(MODELS + "selectors:").config.selectors, {})

    def test_errors(self) -> None:
        """Whatever is wrong, at its place."""
        self.assert_errors(
            MODELS
            + "selectors:\n  a: {strategy: pin, targets: [b]}\n  bee: {strategy: pin, targets: [b]}\n"
            + "  s: {strategy: hot, targets: [t, none]}\n  t: {}\n  u: [a]\n"
            + "  v: {strategy: spillover, targets: [a], settings: {spillover: 0}}",
            (3, "selectors.a", "that of a model already"),
            (4, "selectors.bee", "that of a model already"),
            (5, "selectors.s.strategy", "one of warm, pin, spillover"),
            (5, "selectors.s.targets[0]", "'t' is a selector"),
            (5, "selectors.s.targets[1]", "no model or alias 'none'"),
            (6, "selectors.t", "must have a `strategy`"),
            (6, "selectors.t", "must have `targets`"),
            (7, "selectors.u", "must be a mapping with `strategy` and `targets`"),
            (8, "selectors.v.settings.spillover", "from 1"),
        )
        self.assert_errors(MODELS + "selectors: [a]", (2, "selectors", "must be a mapping"))

    def test_spillover_needs_company(self) -> None:
        """Targets among which requests are spread must be able to run together."""
        spread = "selectors: {s: {strategy: spillover, targets: [a, bee]}}"
        self.assert_errors(MODELS + spread, (2, "selectors.s.targets", "a, b cannot all run together"))
        for rules in (TOGETHER, "matrix: {sets: {s: a & b & c}}\n"):
            self.assert_warnings(MODELS + rules + spread)
        self.assert_errors(MODELS + "matrix: {sets: {s: a | b}}\n" + spread, (3, "selectors.s.targets", "cannot"))

    def test_settings_of_another_type(self) -> None:
        """Settings that are no mapping are not passed over in silence."""
        for written in ("4", "[spillover: 4]"):
            text = f"{MODELS}selectors: {{s: {{strategy: warm, targets: [a], settings: {written}}}}}"
            self.assert_errors(text, (2, "selectors.s.settings", "must be a mapping with `spillover`, not "))


class PinTests(FindingsTestCase):
    """`profiles` with `pins`."""

    def test_pins(self) -> None:
        """Both kinds of profiles in one file; a pin to nothing refuses its name."""
        text = "selectors: {s: {strategy: pin, targets: [a]}}\nprofiles:\n  both: [a, b]\n"
        text += "  p: {description: D, pins: {gpt: bee, x: s, off: ~, off2: ''}}\n  q: {}"
        config = load(MODELS + text).config
        self.assertEqual(config.profiles, {"both": ("a", "b")})
        pins = {"gpt": "bee", "x": "s", "off": None, "off2": None}
        self.assertEqual(config.pin_profiles, {"p": PinProfile(description="D", pins=pins), "q": PinProfile()})

    def test_errors(self) -> None:
        """Pins lead to what exists."""
        self.assert_errors(
            MODELS + "profiles:\n  p: {pins: {x: none, y: [a]}}\n  q: {pins: [a]}",
            (3, "profiles.p.pins.x", "no model or alias 'none'"),
            (3, "profiles.p.pins.y", "must be the name of a model, or null"),
            (4, "profiles.q.pins", "must be a mapping"),
        )
