"""What requests try to reach that is none of their business: files, other hosts, the shell, the log."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import exchange


def raw(proxy: ProxyUnderTest, target: str, *fields: str) -> bytes:
    """Return the answer to a GET whose target no client library would send."""
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
    return exchange(proxy.port, "\r\n".join([*lines, "", ""]).encode("latin-1"))


class FileTests(SynchronousTestCase):
    """Files that are not ours to give."""

    def test_traversal(self) -> None:
        """No spelling of a path leads out of the web interface's files."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            for root in ("/ui/assets", "/ui", "/logs", "/upstream", ""):
                for way in (
                    "/../../../../etc/passwd",
                    "/..%2f..%2f..%2f..%2fetc/passwd",
                    "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
                    "/..%252f..%252fetc%252fpasswd",
                    "/..%5c..%5cetc%5cpasswd",
                    "/....//....//etc/passwd",
                    "/..;/..;/etc/passwd",
                    "/logs.js%00.html",
                    "/%00",
                    "//etc/passwd",
                    "/etc/passwd",
                    "/__init__.py",
                    "/../pages/__init__.py",
                ):
                    answer = raw(proxy, root + way)
                    if not answer.startswith(b"HTTP/1.1 200 OK") or b'<main id="page"' not in answer:
                        self.assertRegex(answer[:13], rb"HTTP/1.1 (404|400|308)", root + way)
                    self.assertNotIn(b"root:", answer)
                    self.assertNotIn(b"from __future__", answer)
            self.assertEqual(proxy.journal.events(), [])


class OtherHostTests(SynchronousTestCase):
    """Hosts that a request would like us to visit."""

    def test_no_request_goes_elsewhere(self) -> None:
        """Wherever a target or a header points, nobody but the model is asked."""
        with socket.create_server(("127.0.0.1", 0)) as canary, ProxyUnderTest(fake_models("a")) as proxy:
            canary.setblocking(False)
            other = f"127.0.0.1:{canary.getsockname()[1]}"
            for target in (
                f"http://{other}/",
                f"//{other}/",
                f"/\\{other}/",
                f"@{other}/",
                f"/upstream/a//{other}/",
                f"/upstream/a/@{other}",
                f"/upstream/a/http://{other}/",
                f"/upstream/a@{other}/",
                f"/upstream/{other}/",
                f"/upstream/http://{other}/",
                f"/upstream/a/..//{other}/",
                f"/upstream/a:{canary.getsockname()[1]}/",
            ):
                raw(proxy, target, f"X-Forwarded-Host: {other}", f"Forwarded: host={other}")
            exchange(proxy.port, f"CONNECT {other} HTTP/1.1\r\nHost: {other}\r\nConnection: close\r\n\r\n".encode())
            self.assertRaises(BlockingIOError, canary.accept)

    def test_redirects_are_passed_on(self) -> None:
        """Where a model's server redirects to, the client may go; we do not."""
        with socket.create_server(("127.0.0.1", 0)) as canary:
            canary.setblocking(False)
            other = f"http://127.0.0.1:{canary.getsockname()[1]}/"
            answer = Path(self.mktemp())
            answer.write_text(f"HTTP/1.1 302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\n\r\n")
            environ = {"HTTP_PROXY": other, "http_proxy": other, "ALL_PROXY": other}
            config = {"models": {"a": fake_model("a", f"--raw {answer.absolute()}")}}
            with ProxyUnderTest(config, env=environ) as proxy:
                got = proxy.get("/upstream/a/x")
                self.assertEqual((got.status, got.headers["Location"]), (302, other))
            self.assertRaises(BlockingIOError, canary.accept)


class ShellTests(SynchronousTestCase):
    """Commands that somebody would like us to run."""

    def test_no_shell(self) -> None:
        """Names in requests, and macros with a shell's special characters, run nothing."""
        marker = Path(self.mktemp()).absolute()
        spells = [
            f"x; touch {marker}",
            f"$(touch {marker})",
            f"`touch {marker}`",
            f"x | touch {marker}",
            f"x && touch {marker}",
        ]
        models = {
            f"m{number}": fake_model(
                f"m{number}", f'"${{spell}}" $HOME $(touch {marker}) ; touch {marker}', macros={"spell": spell}
            )
            for number, spell in enumerate(spells)
        }
        with ProxyUnderTest({"models": models}) as proxy:
            for model in models:
                proxy.served(model)
            for spell in (*spells, f"m0\n; touch {marker}", f"m0 --log-file {marker}", "m0\0", "../m0", f"m0 {marker}"):
                self.assertEqual(proxy.chat(spell).status, 404, spell)
                self.assertIn(proxy.get(f"/upstream/{quote(spell, safe='')}/").status, {404, 400}, spell)
            self.assertFalse(marker.exists())
            self.assertEqual(len(proxy.journal.events("start")), len(models))

    def test_nothing_from_requests_reaches_the_command(self) -> None:
        """A model's process has the arguments and variables of the configuration, whatever the request said."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            body = {"model": "a", "messages": [], "cmd": "touch-this", "env": ["TOUCH=this"], "--port": "touch-this"}
            headers = {"X-Cmd": "touch-this", "TOUCH": "this"}
            self.assertEqual(proxy.ask("POST", "/v1/chat/completions?cmd=touch-this", body, headers).status, 200)
            [pid] = proxy.journal.pids()
            for file in ("cmdline", "environ"):
                self.assertNotIn(b"touch", Path(f"/proc/{pid}/{file}").read_bytes().lower())


class LogTests(SynchronousTestCase):
    """Lines that somebody would like to see in the log."""

    def test_nothing_is_forged(self) -> None:
        """Line breaks, terminal controls and direction marks of requests are spelled out, or refused."""
        forged = "2026-11-22 00:00:00 [ERROR] forged"
        config = fake_models("a", logRequests=True)
        with ProxyUnderTest(config) as proxy:
            for target in (
                f"/x%0a{quote(forged)}",
                f"/x%0d%0a{quote(forged)}",
                f"/upstream/x%0a{quote(forged)}/",
                f"/logs/stream/x%0a{quote(forged)}",
                f"/x?a=%0a{quote(forged)}",
                "/x%1b[31mred",
                "/%e2%80%ae",
                "/\x1b[31mred",
                f"/x\n{forged}",
                f"/x\r{forged}",
            ):
                raw(proxy, target)
            for field in (
                "User-Agent: \x1b[2J\x1b]0;title\x07",
                "User-Agent: \x9b31m",
                f"User-Agent: x\n{forged}",
                f"User-Agent: x\r{forged}",
                'User-Agent: " 200 0 "forged',
                "Origin: http://x\x1b[31m",
                "Origin: http://\u00e9\u0085.test",
            ):
                raw(proxy, "/running", field)
                raw(proxy, "/unload", field)
            for name in (f"x\n{forged}", "\x1b[31m", "a\u2028b", "a\u202eb", "a\r\nX: y"):
                answer = proxy.chat(name)
                self.assertEqual(answer.status, 404)
                self.assertIsNone(answer.headers["X"])
            logged = proxy.log().encode() + proxy.get("/logs?bytes=102400").body
            lines = logged.decode().splitlines()
            self.assertEqual([line for line in lines if line.startswith(forged)], [])
            self.assertEqual(re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]", logged), [])
            self.assertTrue(all(re.match(r"(20\d\d-|llama-swap listening| )", line) for line in lines), lines)
