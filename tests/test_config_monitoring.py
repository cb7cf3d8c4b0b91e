"""The keys of monitoring: store, captures, sessions."""

from __future__ import annotations

from llama_swap.config.model import Config
from tests.support_config import FindingsTestCase, errors, load, one_model

FILE = one_model("cmd: x --port 1\n")


def config(lines: str) -> Config:
    """Return what a file with these lines at its top says."""
    return load(f"{lines}\n{FILE}").config


class MonitoringTests(FindingsTestCase):
    """What is kept, where, and how much of it."""

    def test_defaults(self) -> None:
        """Without any of the keys, and with empty sections."""
        for lines in ("", "store:\nui:", "store: {}\nui: {activity: }"):
            found = config(lines)
            self.assertEqual((found.metrics_max_in_memory, found.capture_buffer, found.store.path), (1000, 5, None))
            self.assertEqual(found.ui.activity.session_id, ("X-Session-ID", "X-Litellm-Session-Id"))

    def test_given(self) -> None:
        """Each key; headers are one whatever their case."""
        found = config(
            "metricsMaxInMemory: 50\ncaptureBuffer: 0\nmacros: {dir: /var/lib}\nstore: {path: '${dir}/a.db'}\n"
            "ui: {activity: {session_id: [X-Mine, x-mine, Other]}}"
        )
        self.assertEqual((found.metrics_max_in_memory, found.capture_buffer), (50, 0))
        self.assertEqual((found.store.path, found.ui.activity.session_id), ("/var/lib/a.db", ("X-Mine", "Other")))
        self.assertEqual(config("ui: {activity: {session_id: []}}").ui.activity.session_id, ())

    def test_wrong(self) -> None:
        """Each mistake has its place and what would be right."""
        for lines, path, part in (
            ("store: {path: ''}", "store.path", "the path of a file"),
            ("store: {path: []}", "store.path", "the path of a file"),
            ("store: activity.db", "store", "a mapping of path"),
            ("captureBuffer: 4097", "captureBuffer", "from 0 to"),
            ("metricsMaxInMemory: many", "metricsMaxInMemory", "whole number of entries"),
            ("ui: {activity: {session_id: [a b]}}", "ui.activity.session_id[0]", "the name of a header"),
            ("ui: {activity: {session_id: x}}", "ui.activity.session_id", "a list of names"),
        ):
            self.assert_findings(errors(f"{lines}\n{FILE}"), [(1, path, part)], lines)

    def test_unknown(self) -> None:
        """Keys that do not exist inside a section are told with what was meant."""
        self.assert_warnings(f"store: {{pth: x}}\n{FILE}", (1, "store.pth", "did you mean path?"))


class PerformanceTests(FindingsTestCase):
    """`performance`."""

    def test_given(self) -> None:
        """Times as Go writes them, or as seconds."""
        for text, seconds in (("5s", 5), ("1m30s", 90), ("1h", 3600), ("7500ms", 7.5), ("15", 15), ("0.5m", 30)):
            self.assertEqual(config(f"performance: {{every: {text}}}").performance.every, seconds)
        self.assertTrue(config("performance: {disabled: true}").performance.disabled)
        for text in ("", "performance: {every: 0}"):
            self.assertEqual(config(text).performance.every, 5)

    def test_wrong(self) -> None:
        """Too often, or no time at all."""
        for text, part in (
            ("4s", "must be at least 5s, got 4s"),
            ("soon", "such as 5s"),
            ("-5s", "5s"),
        ):
            lines = f"performance: {{every: {text}}}\n{FILE}"
            self.assert_findings(errors(lines), [(1, "performance.every", part)], text)
