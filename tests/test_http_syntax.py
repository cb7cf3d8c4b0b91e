"""How tokens, hosts and origins are spelled."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.http.syntax import AUTHORITY, TOKEN, Origin, host_named, origin_named


class TokenTests(SynchronousTestCase):
    """RFC 9110 §5.6.2."""

    def test_characters(self) -> None:
        """A token has letters, digits and fifteen others, all of ASCII."""
        allowed = {chr(code) for code in range(0x200) if re.fullmatch(TOKEN, chr(code))}
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.assertEqual(allowed, set(letters + letters.upper() + "0123456789" + "!#$%&'*+-.^_`|~"))

    def test_length(self) -> None:
        """It has at least one of them, and nothing around it."""
        self.assertIsNotNone(re.fullmatch(TOKEN, "X-Session-ID"))
        for text in ("", " a", "a\n"):
            self.assertIsNone(re.fullmatch(TOKEN, text))


class HostTests(SynchronousTestCase):
    """What may stand in a request, and what is the name of a host."""

    def test_named(self) -> None:
        """Case, port and the dot at the end make no difference."""
        for text, host in (
            ("localhost", "localhost"),
            ("LocalHost.:8080", "localhost"),
            ("a.localhost", "a.localhost"),
            ("GPU_1.example:65535", "gpu_1.example"),
            ("0.0.0.0:80", "0.0.0.0"),
            ("127.1", "127.1"),
            ("[::1]:80", "[::1]"),
            ("[FD00::1]", "[fd00::1]"),
            ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
        ):
            self.assertEqual(host_named(text), host)
            self.assertIsNotNone(re.fullmatch(AUTHORITY, text))

    def test_allowed_only(self) -> None:
        """A request may be for what no host is called."""
        for text in ("a,b", "a%2eb", "a;b", "~", "(a)", "a=b:1"):
            self.assertIsNone(host_named(text), text)
            self.assertIsNotNone(re.fullmatch(AUTHORITY, text), text)

    def test_neither(self) -> None:
        """What has another part in it, or is cut, is no host."""
        for text in (
            "",
            ":80",
            "a:",
            "a:x",
            "a:123456",
            "a:-1",
            "::1",
            "[::1",
            "::1]",
            "ab]",
            "[::1%eth0]",
            "u@a",
            "a/b",
            "a b",
            "ü",
            "a\n",
        ):
            self.assertIsNone(host_named(text), text)
            self.assertIsNone(re.fullmatch(AUTHORITY, text), text)


class OriginTests(SynchronousTestCase):
    """RFC 6454 §6."""

    def test_parts(self) -> None:
        """An origin has a scheme, and a host that has a name."""
        for text, origin in (
            ("https://Chat.Example", Origin("https", "chat.example", "chat.example")),
            ("http://[::1]:3000", Origin("http", "[::1]:3000", "[::1]")),
            ("tauri://localhost", Origin("tauri", "localhost", "localhost")),
            ("http://localhost.:80", Origin("http", "localhost.:80", "localhost")),
        ):
            self.assertEqual(origin_named(text), origin)

    def test_none(self) -> None:
        """Whatever else is there makes it another thing."""
        for text in (
            "null",
            "",
            "localhost",
            "http://",
            "://a",
            "//a",
            "http://a/",
            "http://u@a",
            "http://a?",
            "1://a",
            "http://a b",
            "http://a,b",
        ):
            self.assertIsNone(origin_named(text), text)
