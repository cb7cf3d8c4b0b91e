"""Values that are one of a few, or anything; and the sections that have them."""

from __future__ import annotations

import time

from llama_swap.config.model import Capabilities, Timeouts
from tests.support_config import FindingsTestCase, load, model

ONE = "models: {m: {cmd: x --port 1, aliases: [n]}}\n"


class ValueTests(FindingsTestCase):
    """The kinds."""

    def test_metadata(self) -> None:
        """Anything may stand there, with YAML's types; names of macros stand for their types too."""
        made = model(
            "cmd: x --port 1\nmacros: {n: 5, t: '5', off: false}\n"
            "metadata:\n  i: ${n}\n  t: ${t}\n  b: ${off}\n  s: n is ${n}\n"
            "  l: [1.5, 0x10, ~, 'null', yes, {deep: 1e3}, 010, -00.5, 01e3]\n  big: 1e999"
        )
        deep = [1.5, 16, None, "null", "yes", {"deep": 1000.0}, "010", -0.5, 1000.0]
        expected = {"i": 5, "t": "5", "b": False, "s": "n is 5", "l": deep, "big": "1e999"}
        self.assertEqual(made.metadata, expected)
        self.assert_errors(ONE.replace("cmd", "metadata: [], cmd"), (1, "models.m.metadata", "must be a mapping"))

    def test_capabilities(self) -> None:
        """Lists of a few words, flags, and a number; anchors may be merged into them."""
        made = model(
            "cmd: x --port 1\ncapabilities: {in: [text, image], out: text, tools: true, reranker: no, context: 32768}"
        )
        able = Capabilities(in_=("text", "image"), out=("text",), tools=True, context=32768)
        self.assertEqual(made.capabilities, able)
        bad = "capabilities: {in: [smell], context: -1, tools: maybe}, cmd"
        self.assert_errors(
            ONE.replace("cmd", bad),
            (1, "models.m.capabilities.in[0]", "one of text, audio, image"),
            (1, "models.m.capabilities.tools", "true or false"),
            (1, "models.m.capabilities.context", "from 0"),
        )

    def test_timeouts(self) -> None:
        """Seconds each; those of the original are all known."""
        timeouts = "timeouts: {connect: 5, responseHeader: 0.5, keepalive: 1, idleConn: 2}"
        made = model(f"cmd: x --port 1\n{timeouts}\ncompat: {{ignoreWebsockets: yes}}")
        self.assertEqual(made.timeouts, Timeouts(connect=5, response_header=0.5, keepalive=1, idle_conn=2))
        self.assertTrue(made.compat.ignore_websockets)

    def test_without_effect(self) -> None:
        """What is better left to the pool of connections is read all the same, and so is what nobody asks for."""
        self.assertTrue(model("cmd: x --port 1\ndisableKeepAlives: true").disable_keep_alives)
        self.assertFalse(model("cmd: x --port 1").disable_keep_alives)
        self.assertTrue(model("cmd: x --port 1\ncapabilities: {disableAuto: true}").capabilities.disable_auto)

    def test_comfyui(self) -> None:
        """The model behind `/comfyui/` has room for the requests of a page, and its WebSockets never count."""
        for written, limit in (("concurrencyLimit: 20", 999), ("concurrencyLimit: 1000", 1000), ("ttl: 5", 999)):
            [made] = load(
                f"models: {{comfyui_auto: {{cmd: x --port 1, {written}, compat: {{ignoreWebsockets: false}}}}}}"
            ).config.models.values()
            self.assertEqual((made.concurrency_limit, made.compat.ignore_websockets), (limit, True), written)
        self.assertFalse(model("cmd: x --port 1").compat.ignore_websockets)

    def test_logs(self) -> None:
        """Levels and layouts that do not exist are warnings, places to log to are errors, as in the original."""
        config = load(ONE + "logLevel: WARN\nlogTimeFormat: RFC3339\nlogToStdout: both\n").config
        self.assertEqual((config.log_level, config.log_time_format, config.log_to_stdout), ("warn", "rfc3339", "both"))
        self.assert_warnings(
            ONE + "logLevel: loud\nlogTimeFormat: '%Y'\n",
            (2, "logLevel", "must be one of debug, info, warn, error, not 'loud'; taken as info"),
            (3, "logTimeFormat", "taken as absent"),
        )
        for text, whose in (
            ("'proxy,upstream'", "both"),
            ("upstream, http", "both"),
            ("http", "proxy"),
            ("None", "none"),
        ):
            self.assertEqual(load(f"{ONE}logToStdout: {text}\n").config.log_to_stdout, whose)
        for text in ("proxy;upstream", "proxy,", "proxy,both", "''"):
            self.assert_errors(f"{ONE}logToStdout: {text}\n", (2, "logToStdout", "proxy, upstream, both, none, not"))
        refusal = "logToStdout must be one of: proxy, upstream, both, none"
        self.assert_errors(ONE + "logToStdout: file\n", (2, "logToStdout", refusal))

    def test_ignored_paths(self) -> None:
        """Regular expressions, found anywhere in a path; those that are none are errors."""
        upstream = load(ONE).config.upstream
        self.assertEqual([upstream.ignores(path) for path in ("/a/sw.js", "/v1/models")], [True, False])
        upstream = load(ONE + "upstream: {ignorePaths: ['^/a', b$]}\n").config.upstream
        self.assertEqual([upstream.ignores(path) for path in ("/a/c", "/c/b", "/c.js")], [True, True, False])
        self.assertTrue(load(ONE + "upstream: {ignorePaths: []}\n").config.upstream.ignores("/x.js"))
        bad = "upstream: {ignorePaths: ['(']}\n"
        self.assert_errors(ONE + bad, (2, "upstream.ignorePaths[0]", "invalid regular expression '('"))

    def test_ignored_paths_take_no_time(self) -> None:
        """Nobody stops the proxy with a long path, as long as a head may be."""
        for patterns in ("", "upstream: {ignorePaths: ['/static/.*[.]js$', '[^.]*[.]png$']}\n"):
            upstream = load(ONE + patterns).config.upstream
            for path in ("/a", ".", ".js", "/static/"):
                began = time.perf_counter()
                self.assertFalse(upstream.ignores(path * (60_000 // len(path)) + "!"))
                self.assertFalse(upstream.ignores(path * (1000 // len(path)) + "!"))
                self.assertLess(time.perf_counter() - began, 0.1, f"{patterns} {path}")
        self.assertTrue(upstream.ignores("/static/" + "a" * 1000 + ".js"))


class HooksTests(FindingsTestCase):
    """`hooks`."""

    def test_preload(self) -> None:
        """Names and aliases become ids, each once; unknown ones are warnings; empty sections are nothing."""
        self.assertEqual(load(ONE + "hooks: {on_startup: {preload: [n, ' m ', '']}}\n").config.preload, ("m",))
        for empty in ("hooks:\n", "hooks: {on_startup: }\n", "hooks: {on_startup: {preload: ~}}\n"):
            self.assertEqual(load(ONE + empty).config.preload, ())
        self.assert_warnings(
            ONE + "hooks: {on_startup: {preload: [x]}}\n",
            (2, "hooks.on_startup.preload[0]", "no model or alias 'x'"),
        )

    def test_profile(self) -> None:
        """The profile that is active at the start has pins."""
        profiles = "profiles: {p: {pins: {x: m}}, l: [m]}\n"
        text = f"{ONE}{profiles}hooks: {{on_startup: {{profile: %s}}}}\n"
        self.assertEqual(load(text % "p").config.startup_profile, "p")
        self.assertIsNone(load(text % "''").config.startup_profile)
        for name in ("l", "q"):
            self.assert_errors(text % name, (3, "hooks.on_startup.profile", f"no profile '{name}' with pins"))

    def test_wrong_kinds(self) -> None:
        """A list where a mapping belongs is an error, at whatever depth."""
        for text, path in (("[m]", "hooks"), ("{on_startup: [m]}", "hooks.on_startup")):
            self.assert_errors(f"{ONE}hooks: {text}\n", (2, path, "must be a mapping with `"))
        self.assert_errors(
            ONE + "hooks: {on_startup: {preload: m}}\n", (2, "hooks.on_startup.preload", "must be a list of names")
        )
