"""`docs/compatibility.md` has every key and every route, each with a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config import keys
from llama_swap.web import paths

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/compatibility.md").read_text()
NAMED_TEST = re.compile(r"`(test_\w+)\.(\w+)\.(test_\w+)`")
ROUTE = re.compile(r"""app\.route\(\s*"([^"]+)"|^\s+"(/log[^"]*)": self\.""", re.MULTILINE)


@cache
def tests_in(module: str) -> frozenset[tuple[str, str]]:
    """Return the tests of a module, by class and name; those of base classes in it count for their heirs."""
    tree = ast.parse((TESTS / f"{module}.py").read_text())
    return frozenset(
        (case.name, test.name)
        for case in tree.body
        if isinstance(case, ast.ClassDef)
        for test in case.body
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def tables(title: str) -> str:
    """Return the part of the page below a heading."""
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


class CompatibilityTests(SynchronousTestCase):
    """The page against the program."""

    def test_tests_exist(self) -> None:
        """Whatever is said to be a test is one."""
        named = NAMED_TEST.findall(PAGE)
        missing = [f"{module}.{case}.{test}" for module, case, test in named if (case, test) not in tests_in(module)]
        self.assertGreater(len(named), 60)
        self.assertEqual(missing, [])

    def test_each_line_has_a_test(self) -> None:
        """No line of a table is without one."""
        lines = [
            line for line in PAGE.splitlines() if line.startswith("| ") and not line.endswith(("| test |", "|---|"))
        ]
        self.assertEqual([line for line in lines if not NAMED_TEST.search(line.rpartition(" | ")[2])], [])

    def test_keys(self) -> None:
        """Every key that the loader knows is here, where it belongs."""
        for title, table in (("Keys at the top level", keys.TOP), ("Keys of a model", keys.MODEL)):
            self.assertEqual([key.name for key in table if f"`{key.name}`" not in tables(title)], [], title)

    def test_routes(self) -> None:
        """Every path that is served is here."""
        sources = "".join(path.read_text() for path in (TESTS.parent / "llama_swap/web").glob("*.py"))
        served = {"".join(found) for found in ROUTE.findall(sources)} | {*paths.POST, *paths.GET}
        self.assertGreater(len(served), 50)
        self.assertEqual(sorted(path for path in served if f"`{path}`" not in tables("Routes")), [])
