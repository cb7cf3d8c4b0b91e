"""The section `matrix`: variables, costs, sets and what can be wrong with them."""

from __future__ import annotations

from llama_swap.config.model import Matrix
from tests.support_config import FindingsTestCase, load

MODELS = "models: {a: {cmd: x --port 1}, b: {cmd: x --port 2, aliases: [bee]}, org/c: {cmd: x --port 3}}\n"


def matrix(text: str) -> Matrix | None:
    """Return what a file says about its matrix."""
    return load(MODELS + text).config.routing.matrix


class MatrixTests(FindingsTestCase):
    """What is read."""

    def test_sets(self) -> None:
        """Sets are put together in their order; models are named by variables, ids and aliases."""
        found = matrix("matrix: {vars: {c: org/c}, evict_costs: {c: 30, bee: 2}, sets: {one: a & c, two: bee | a & c}}")
        assert found is not None
        self.assertEqual(found.variables, {"c": "org/c"})
        self.assertEqual(found.evict_costs, {"org/c": 30, "b": 2})
        self.assertEqual(found.sets, {"one": "a & c", "two": "bee | a & c"})
        self.assertEqual(found.combinations, (frozenset({"a", "org/c"}), frozenset({"b"})))

    def test_references(self) -> None:
        """Sets may refer to sets below them."""
        found = matrix("matrix: {sets: {one: +two & a, two: b}}")
        assert found is not None
        self.assertEqual(found.combinations, (frozenset("ab"), frozenset("b")))

    def test_both_places(self) -> None:
        """The newer form says the same."""
        settings = "settings: {matrix: {sets: {one: a & b}}}"
        expected = Matrix(sets={"one": "a & b"}, combinations=(frozenset("ab"),))
        for text in ("matrix: {sets: {one: a & b}}", f"routing: {{router: {{use: matrix, {settings}}}}}"):
            self.assertEqual(matrix(text), expected)
        self.assertIsNone(matrix("matrix: "))

    def test_macros(self) -> None:
        """Macros hold here as everywhere."""
        found = matrix("macros: {small: a}\nmatrix: {sets: {one: '${small} & b'}}")
        assert found is not None
        self.assertEqual(found.combinations, (frozenset("ab"),))

    def test_groups_and_matrix(self) -> None:
        """One of the two."""
        self.assert_errors(
            MODELS + "groups: {g: {}}\nmatrix: {sets: {one: a}}",
            (3, "matrix", "config cannot use both 'groups' and 'matrix'"),
        )

    def test_shared_addresses(self) -> None:
        """Models of one combination that cannot run together."""
        models = "models: {a: {cmd: x --port 1}, b: {cmd: x --port 1}}\n"
        self.assert_warnings(models + "matrix: {sets: {one: a & b}}", (2, "matrix.sets.one", "a, b all listen on"))
        self.assert_warnings(models + "matrix: {sets: {one: a | b}}")


class ErrorTests(FindingsTestCase):
    """Each mistake is told at its place, all at once."""

    def test_names(self) -> None:
        """Variables, models, and sets that do not exist."""
        self.assert_errors(
            MODELS
            + "matrix:\n  vars: {a_b: a, d: none}\n  evict_costs: {z: 1, a: 0}\n"
            + "  sets:\n    one: aa\n    two: a & +thre\n    three: two",
            (3, "matrix.vars.a_b", "1 to 32 letters"),
            (3, "matrix.vars.d", "no model or alias 'none'"),
            (4, "matrix.evict_costs.z", "no variable of that name"),
            (4, "matrix.evict_costs.a", "from 1 to"),
            (6, "matrix.sets.one", "no model, alias or variable 'aa'; did you mean a?"),
            (7, "matrix.sets.two", "no set 'thre', at character 6"),
            (8, "matrix.sets.three", "write +two for the set"),
        )

    def test_circles(self) -> None:
        """Sets that refer to each other in a circle, once for the circle."""
        self.assert_errors(
            MODELS + "matrix:\n  sets:\n    one: +two\n    two: a & +three\n    three: +two\n    four: +four",
            (6, "matrix.sets.three", "circular reference detected involving set 'two': two -> three -> two"),
            (7, "matrix.sets.four", "circular reference detected involving set 'four': four -> four"),
        )

    def test_wrong_types(self) -> None:
        """Sections are mappings, and sets are text."""
        self.assert_errors(MODELS + "matrix: [a]", (2, "matrix", "must be a mapping with `sets`"))
        self.assert_errors(MODELS + "matrix: {sets: [a]}", (2, "matrix.sets", "must be a mapping"))
        self.assert_errors(MODELS + "matrix: {sets: {one: [a, b]}}", (2, "matrix.sets.one", "must be an expression"))
        self.assert_warnings(
            MODELS + "matrix: {evictCosts: {a: 1}}", (2, "matrix.evictCosts", "did you mean evict_costs")
        )

    def test_too_much(self) -> None:
        """A matrix that stands for too much is refused, and what comes after it is not looked at."""
        models = "".join(f"  m{n}: {{cmd: x --port {n + 1}}}\n" for n in range(40))
        bomb = " & ".join(f"(m{n} | m{n + 1})" for n in range(0, 40, 2))
        self.assert_errors(
            f"models:\n{models}matrix:\n  sets:\n    one: {bomb}\n    two: none",
            (44, "matrix.sets.one", "more than 20,000 combinations"),
        )
