"""Regular expressions of Go: what they find, and which are refused."""

from __future__ import annotations

import warnings

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.patterns import compiled

PRINTABLE = "".join(map(chr, range(33, 127)))


class PatternTests(SynchronousTestCase):
    """`compiled`."""

    def assert_finds(self, pattern: str, *found: str, but: tuple[str, ...]) -> None:
        """It finds the first ones, and not the others, and Python has no doubts about it."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search = compiled(pattern).search
        self.assertEqual([text for text in (*found, *but) if search(text)], list(found), pattern)

    def test_plain(self) -> None:
        """What both languages know stays as it is."""
        for pattern in (r"^.*\.(js|json)$", r"^/a(?:b|c)*?/[^\]/]+\b\d{2,3}", r"(?P<x>a)[]a-]", r"a(?=b)\Z"):
            self.assertEqual(compiled(pattern).pattern, pattern)
        self.assert_finds("^[[]$", "[", but=("]",))

    def test_anything_first(self) -> None:
        """What may be anything is not looked for, since that takes Python long; the same is found."""
        for pattern, fast in ((r".*\.js$", r"\.js$"), (".*?a|.*b", "a|.*b"), (".*", ""), (r"\.*a", r"\.*a")):
            self.assertEqual(compiled(pattern).pattern, fast)
        for pattern in (r".*\.(js|json)$", r".*?\.(js|json)$", r"(?i).*\.JSO?N?$", r".*\.json|.*\.js\z"):
            self.assert_finds(pattern, "/a.js", "/a/.json", but=("/js", "/a.js/b"))
        for wrong in (".**", ".*?*", ".*{2}"):
            self.assertRaises(ValueError, compiled, wrong)

    def test_end(self) -> None:
        r"""`\z` is the end."""
        self.assert_finds(r"\.js\z", "/a.js", but=("/a.jsx", "/a.js\n"))

    def test_named_sets(self) -> None:
        """POSIX's names stand for the ASCII that they mean, alone, with others, and negated."""
        self.assert_finds(r"^[[:alpha:]_]+$", "aZ_", but=("a1", "ä", "a:", "["))
        self.assert_finds(r"^[^[:alpha:]]$", "1", "ä", but=("a",))
        self.assert_finds(r"^[[:^alpha:]x]+$", "12x-", but=("12y",))
        self.assert_finds(r"^[[:punct:]]+$", r"!/:@[]\`{~^", but=("a!", "!1"))
        for name, count in (("alnum", 62), ("graph", 94), ("print", 94), ("punct", 32), ("xdigit", 22), ("word", 63)):
            self.assertEqual(len(compiled(f"[[:{name}:]]").findall(PRINTABLE)), count, name)
            self.assertEqual(len(compiled(f"[[:^{name}:]]").findall(PRINTABLE)), 94 - count, name)

    def test_flags(self) -> None:
        """Flags hold from where they stand to the end of their group, in its other alternatives, too."""
        self.assert_finds("(?i)^/a", "/a", "/A", but=("/b",))
        self.assert_finds("^a(?i)b$", "ab", "aB", but=("Ab",))
        self.assert_finds("^(?:x(?i)y|z)w$", "xYw", "Zw", but=("Xyw", "zW"))
        self.assert_finds("^a(?i)b|^c", "aB", "C", but=("Ab",))
        self.assert_finds("^(?i)a(?-i)b$", "Ab", but=("AB",))
        self.assert_finds("^(?i:a)b$", "Ab", but=("AB",))

    def test_quoted(self) -> None:
        """Text may be quoted, and characters be given by number."""
        self.assert_finds(r"^\Qa.b|(\E$", "a.b|(", but=("axb|(",))
        self.assert_finds(r"^\Qa.", "a.b", but=("ab",))
        self.assert_finds(r"^\x{61}[\x{5d}\x62]$", "ab", "a]", but=("aa",))

    def test_names(self) -> None:
        """Groups have names in either spelling."""
        self.assert_finds("^(?<x>a|b)c", "ac", but=("a",))

    def test_refused(self) -> None:
        """What there is no counterpart for is told as that; and what is wrong in either language."""
        for pattern, part in (
            (r"\p{Greek}", r"\p cannot be used here"),
            (r"[\PN]", r"\P cannot be used here"),
            (r"\C", r"\C cannot be used here"),
            ("[[:letter:]]", "there is no [:letter:]; there are alnum"),
            ("(?U)a*", "unknown extension"),
            (r"\x{110000}", "range"),
            ("(", "unterminated"),
            ("a)", "unbalanced"),
            ("(?i)a)", "unbalanced"),
            ("[a", "unterminated"),
            ("a**", "repeat"),
            ("a{99999999999}", "large"),
            ("(" * 5000 + ")" * 5000, "recursion"),
        ):
            with self.assertRaises(ValueError) as caught:
                compiled(pattern)
            self.assertIn(part, str(caught.exception), pattern[:20])
