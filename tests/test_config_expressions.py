"""The language of a matrix."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.expressions import MOST, Budget, ExpressionError, Meaning, ModelSets, combinations

Written = st.recursive(
    st.sampled_from("abcde"),
    lambda inner: st.builds(
        lambda parts, sign: f"({f' {sign} '.join(parts)})",
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from("&|"),
    ),
    max_leaves=12,
)


def read(text: str, budget: int = MOST, **others: str) -> list[str]:
    """Return what `text` stands for: each combination as its sorted letters."""

    def model(name: str) -> str:
        if not name.islower():
            raise ExpressionError(f"no model {name}")
        return name

    def expression(name: str) -> ModelSets:
        return combinations(others[name], meaning, left)

    meaning, left = Meaning(model, expression), Budget(budget)
    return ["".join(sorted(together)) for together in combinations(text, meaning, left)]


class MeaningTests(SynchronousTestCase):
    """What expressions stand for."""

    def test_expressions(self) -> None:
        """`&` binds closer than `|`; the order is that of writing; nothing is there twice."""
        for text, expected in (
            ("a", "a"),
            ("a & b", "ab"),
            ("a&b&c", "abc"),
            ("a | b", "a b"),
            ("a & b | c", "ab c"),
            ("c | a & b", "c ab"),
            ("(a | b) & c", "ac bc"),
            ("(a | b) & (c | d)", "ac ad bc bd"),
            ("((a))", "a"),
            ("a | a & a | b & a | a & b", "a ab"),
            ("  a\n &\tb ", "ab"),
        ):
            self.assertEqual(read(text), expected.split(), text)

    def test_references(self) -> None:
        """A `+` and a name is what that name stands for, as if in parentheses."""
        self.assertEqual(read("+x & c", x="a | b"), ["ac", "bc"])
        self.assertEqual(read("+x | + y", x="a", y="+x & d"), ["a", "ad"])

    def test_names(self) -> None:
        """Names have letters, digits, dots, dashes and underscores."""
        text = "qwen2.5-7b_q4&x"
        self.assertEqual(combinations(text, Meaning(str, _nothing), Budget()), (frozenset({"qwen2.5-7b_q4", "x"}),))

    @given(Written)
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    def test_is_what_python_thinks(self, text: str) -> None:
        """An expression stands for the same as a boolean formula: what it holds for, some combination is part of."""
        found = [set(together) for together in read(text)]
        formula = compile(text.replace("&", " and ").replace("|", " or "), "formula", "eval")
        for number in range(32):
            models = {name for bit, name in enumerate("abcde") if number >> bit & 1}
            holds = eval(formula, {name: name in models for name in "abcde"})
            self.assertEqual(bool(holds), any(together <= models for together in found), text)


class ErrorTests(SynchronousTestCase):
    """What is wrong, and where."""

    def assert_wrong(self, text: str, *parts: str) -> None:
        """`text` is refused, with these parts in the message."""
        error = self.assertRaises(ExpressionError, read, text, x="a")
        for part in parts:
            self.assertIn(part, str(error), text)

    def test_syntax(self) -> None:
        """What belongs where something else stands, and its place."""
        self.assert_wrong("", "the name of a model, `+` or `(` belongs here, not the end", "character 1")
        self.assert_wrong("a &", "not the end", "character 4")
        self.assert_wrong("a & | b", "not `|`", "character 5")
        self.assert_wrong("a b", "`&`, `|` or the end belongs here, not `b`", "character 3")
        self.assert_wrong("(a | b", "`&`, `|` or `)`", "character 7")
        self.assert_wrong("a)", "not `)`", "character 2")
        self.assert_wrong("+ (a)", "the name of a set belongs here", "character 3")
        self.assert_wrong("a & +", "the name of a set", "not the end")

    def test_characters(self) -> None:
        """Names with other characters need a variable."""
        self.assert_wrong("a & org/b", "'org/b' cannot stand here", "`vars`", "character 5")
        self.assert_wrong("a & b/c", "'b/c' cannot stand here", "character 5")
        self.assert_wrong("a, b", "'a,' cannot stand here", "character 1")

    def test_names(self) -> None:
        """What is wrong with a name is said with its place."""
        self.assert_wrong("a & NONE", "no model NONE", "character 5")

    def test_long_expressions(self) -> None:
        """The message shows only what is near the place."""
        error = self.assertRaises(ExpressionError, read, "a & " * 100 + "&")
        self.assertLess(len(str(error)), 200)


class BombTests(SynchronousTestCase):
    """Expressions that stand for too much are refused before that much is made."""

    def test_too_many(self) -> None:
        """Alternatives multiply."""
        text = " & ".join(f"(a{n} | b{n})" for n in range(200))
        self.assertIn("more than 20,000", str(self.assertRaises(ExpressionError, read, text)))

    def test_references_count_too(self) -> None:
        """So do references, however short they are."""
        others = {"x0": "(a | b) & (c | d)"}
        for n in range(1, 60):
            others[f"x{n}"] = f"+x{n - 1} & +x{n - 1}"
        self.assertRaises(ExpressionError, read, "+x59", **others)

    def test_budget(self) -> None:
        """What is allowed is what is left."""
        self.assertEqual(read("(a | b) & (c | d)", budget=8), ["ac", "ad", "bc", "bd"])
        self.assertRaises(ExpressionError, read, "(a | b) & (c | d)", budget=7)

    def test_depth(self) -> None:
        """Parentheses cannot exhaust the stack."""
        self.assertIn("nested too deeply", str(self.assertRaises(ExpressionError, read, "(" * 5000 + "a" + ")" * 5000)))


def _nothing(name: str) -> ModelSets:
    raise AssertionError(name)
