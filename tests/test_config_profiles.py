"""List profiles."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, load

MODELS = """\
models:
  a: {cmd: x --port 1, aliases: [one]}
  b: {cmd: x --port 2}
  c: {cmd: x --port 1, proxy: 'http://127.0.0.1:1'}
  d: {cmd: x --port 1, proxy: 'http://elsewhere:1'}
"""


class ProfileTests(FindingsTestCase):
    """Which models a profile holds."""

    def test_members(self) -> None:
        """Members are ids or aliases; a profile may be empty."""
        text = f"{MODELS}profiles:\n  p: [one, b]\n  q: [d, a]\n  none: []\n  null:\n"
        self.assertEqual(load(text).config.profiles, {"p": ("a", "b"), "q": ("d", "a"), "none": (), "null": ()})
        self.assert_warnings(text)

    def test_before_models(self) -> None:
        """A profile may stand above the models it names."""
        self.assertEqual(load(f"profiles: {{p: [one]}}\n{MODELS}").config.profiles, {"p": ("a",)})

    def test_unknown_members(self) -> None:
        """A member that does not exist is an error, with the name that was meant."""
        self.assert_errors(
            f"{MODELS}profiles:\n  p:\n    - a\n    - on\n  q: [a, zzz]\n",
            (9, "profiles.p[1]", "did you mean 'one'?"),
            (10, "profiles.q[1]", "no model or alias 'zzz'"),
        )

    def test_wrong_types(self) -> None:
        """A profile is a list of names."""
        self.assert_errors(f"{MODELS}profiles: [a]\n", (6, "profiles", "not a list"))
        self.assert_errors(f"{MODELS}profiles: {{p: a}}\n", (6, "profiles.p", "write `[a]`"))
        self.assert_errors(f"{MODELS}profiles: {{p: [[a]]}}\n", (6, "profiles.p[0]", "not a list"))

    def test_broken_model_is_still_a_name(self) -> None:
        """A model with an error of its own is no unknown member, and neither is its alias."""
        text = "models:\n  a: {cmd: \"'\", proxy: 'http://a', aliases: [one]}\n  b: {}\nprofiles: {p: [a, one, b]}\n"
        self.assert_errors(text, (2, "models.a.cmd", "never closed"), (3, "models.b", "`cmd`"))

    def test_needless(self) -> None:
        """A member that stands twice counts once; a name that no request can say is told."""
        text = f"{MODELS}profiles:\n  p: [a, one]\n  a:b: [a]\n"
        self.assertEqual(load(text).config.profiles, {"p": ("a",), "a:b": ("a",)})
        self.assert_warnings(text, (7, "profiles.p[1]", "twice"), (8, "profiles.a:b", "no request"))

    def test_shared_addresses(self) -> None:
        """Members on one address, by whatever name of this machine, take turns; other models are no concern."""
        text = f"{MODELS}profiles:\n  p: [a, b, c, d]\n  q: [a, b]\n"
        self.assert_warnings(text, (7, "profiles.p", "a, c all listen on 127.0.0.1:1"))
