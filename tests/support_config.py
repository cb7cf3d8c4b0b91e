"""What the tests of `llama_swap.config` share: a text in, values or findings out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.load import Loaded, parse_config
from llama_swap.config.model import ModelConfig
from llama_swap.errors import ConfigError, Problem

Expected = tuple[int | None, str, str]
"""Line, key path, and a part of the message."""


def load(text: str | bytes, **environ: str) -> Loaded:
    """Return what a configuration says."""
    return parse_config(text, filename="config.yaml", environ=environ)


def model(lines: str, **environ: str) -> ModelConfig:
    """Return the one model of a file with these lines in it, each with `key: value`."""
    [only] = load(one_model(lines), **environ).config.models.values()
    return only


def one_model(lines: str) -> str:
    """Return a file with one model, `m`; the first of `lines` is line 4 of it."""
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"models:\n  m:\n    # given by the test\n{indented}"


def errors(text: str | bytes, **environ: str) -> tuple[Problem, ...]:
    """Return the errors of a file; none where it can be used."""
    try:
        load(text, **environ)
    except ConfigError as error:
        return error.problems
    return ()


class FindingsTestCase(SynchronousTestCase):
    """Tests of what is said about a file."""

    def assert_findings(self, findings: Iterable[Problem], expected: Sequence[Expected], about: object = "") -> None:
        """Check that there are exactly these, by line and path, with these parts in their messages."""
        findings = tuple(findings)
        places = [(problem.line, problem.path) for problem in findings]
        self.assertEqual(places, [(line, path) for line, path, _ in expected], (about, findings))
        for problem, (_, _, part) in zip(findings, expected, strict=True):
            self.assertIn(part, problem.message, about)

    def assert_errors(self, text: str | bytes, *expected: Expected, **environ: str) -> None:
        """Check that the file is refused for these reasons and no others."""
        self.assertTrue(expected)
        self.assert_findings(errors(text, **environ), expected, text)

    def assert_warnings(self, text: str | bytes, *expected: Expected, **environ: str) -> None:
        """Check that the file is used, with these warnings and no others."""
        self.assert_findings(load(text, **environ).warnings, expected, text)
