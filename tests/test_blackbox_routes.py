"""The routes beside inference: what runs, unloading, direct access to an upstream, health, lists."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import at_once, exchange


class AdminTests(SynchronousTestCase):
    """Watching and unloading."""

    def test_health(self) -> None:
        """`/health` answers OK and starts nothing."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            answer = proxy.get("/health")
            self.assertEqual((answer.status, answer.body.strip()), (200, b"OK"))
            self.assertEqual(proxy.journal.events(), [])

    def test_models(self) -> None:
        """`/v1/models` is OpenAI's list: sorted, without aliases and unlisted models."""
        config = {
            "models": {
                "b": fake_model("b", aliases=["other"], name="Bee", description="A bee."),
                "a/x": fake_model("a"),
                "c": fake_model("c", unlisted=True),
            }
        }
        with ProxyUnderTest(config) as proxy:
            listed = proxy.get("/v1/models").json()
            self.assertEqual(listed["object"], "list")
            self.assertEqual([entry["id"] for entry in listed["data"]], ["a/x", "b"])
            for entry in listed["data"]:
                self.assertEqual((entry["object"], entry["owned_by"]), ("model", "llama-swap"))
                self.assertIsInstance(entry["created"], int)
            self.assertEqual(listed["data"][1]["name"], "Bee")

    def test_running_and_unload(self) -> None:
        """`/running` follows a model through its states; `/unload` returns once everything has stopped."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--load-delay 0.4 --term-delay 0.2")}}) as proxy:
            self.assertEqual(proxy.get("/running").json(), {"running": []})
            with at_once(1) as clients:
                asked = clients.submit(proxy.served, "a")
                proxy.journal.wait_for("start")
                self.assertEqual(proxy.running(), {"a": "starting"})
                self.assertEqual(asked.result(), "a")
            self.assertEqual(proxy.running(), {"a": "ready"})
            answer = proxy.get("/unload")
            self.assertEqual((answer.status, answer.body.strip()), (200, b"OK"))
            self.assertEqual(len(proxy.journal.events("exit")), 1)
            self.assertEqual(proxy.running(), {})
            self.assertEqual(proxy.served("a"), "a")

    def test_unload_ends_waiting(self) -> None:
        """Who waits for a model that is unloaded is told so."""
        with (
            ProxyUnderTest({"models": {"a": fake_model("a", "--load-delay 20")}}) as proxy,
            at_once(1) as clients,
        ):
            asked = clients.submit(proxy.chat, "a")
            proxy.journal.wait_for("start")
            self.assertEqual(proxy.get("/unload").body.strip(), b"OK")
            self.assertEqual(asked.result().status, 503)
            self.assertIn("unload", asked.result().error()["message"])

    def test_unload_with_hung_requests(self) -> None:
        """Answers that never come do not hold an unload up for longer than `unloadTimeout`."""
        model = fake_model("a", "--hold", unloadTimeout=1)
        with ProxyUnderTest({"models": {"a": model}}) as proxy, at_once(3) as clients:
            asked = [clients.submit(proxy.chat, "a") for _ in range(3)]
            proxy.journal.wait_for("req", count=3)
            self.assertEqual(proxy.get("/unload").status, 200)
            self.assertEqual({answer.result().status for answer in asked}, {502})

    def test_errors(self) -> None:
        """Unknown pages are 404, wrong methods 405, both as JSON that names them."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            missing = proxy.get("/no/such/page")
            self.assertEqual(missing.status, 404)
            self.assertIn("/no/such/page", missing.error()["message"])
            nearly = proxy.ask("POST", "/chat/completions", {"model": "a"}).error()["message"]
            self.assertEqual(nearly, "no page /chat/completions here: did you mean /v1/chat/completions?")
            self.assertIn("did you mean /logs?", proxy.get("/logs/").error()["message"])
            for method, target in (("GET", "/v1/chat/completions"), ("POST", "/running")):
                answer = proxy.ask(method, target, b"{}" if method == "POST" else None)
                self.assertEqual(answer.status, 405)
                self.assertIn(target, answer.error()["message"])
                self.assertNotIn(method, answer.headers["Allow"])


class UpstreamTests(SynchronousTestCase):
    """`/upstream/<model>/…` reaches the model's own server."""

    def test_page(self) -> None:
        """The list of upstreams links to each listed model, and leads browsers to the web interface."""
        config = fake_models("a", "b/c")
        config["models"]["hidden"] = fake_model("hidden", unlisted=True)
        with ProxyUnderTest(config) as proxy:
            answer = proxy.get("/upstream", {"Accept": "text/html"})
            self.assertEqual((answer.status, answer.headers.get_content_type()), (302, "text/html"))
            self.assertEqual(answer.headers["Location"], "ui/models")
            page = answer.body.decode()
            self.assertIn('href="/upstream/a/"', page.replace('/a"', '/a/"'))
            self.assertIn("b/c", page)
            self.assertNotIn("hidden", page)

    def test_raw_target(self) -> None:
        """What stands behind the model goes upstream byte for byte."""
        config = fake_models("a", "a/b")
        config["models"]["a"]["aliases"] = ["al"]
        with ProxyUnderTest(config) as proxy:
            for rest in (
                "/",
                "//",
                "/x%2Fy//%7e/../z;p?q=%20+&r",
                "/?",
                "/%e4%00%FF",
                "/a%2Fb/",
                "//evil.test/@x",
            ):
                for model in ("a", "al"):
                    said = proxy.get(f"/upstream/{model}{rest}").json()
                    self.assertEqual((said["served_by"], said["method"], said["target"]), ("a", "GET", rest))

    def test_longest_name_wins(self) -> None:
        """Names with a slash are found, also when written as %2F, and a longer name beats a shorter one."""
        with ProxyUnderTest(fake_models("a", "a/b")) as proxy:
            for target in ("/upstream/a/b/c", "/upstream/a%2Fb/c", "/upstream/a%2fb/c"):
                said = proxy.get(target).json()
                self.assertEqual((said["served_by"], said["target"]), ("a/b", "/c"))
            said = proxy.get("/upstream/a/bb").json()
            self.assertEqual((said["served_by"], said["target"]), ("a", "/bb"))

    def test_any_method(self) -> None:
        """Methods and bodies pass as they are, also where the body is no JSON."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo")}}) as proxy:
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                raw = proxy.ask(method, "/upstream/a/x?y", b"\xff\0{").json()["request"].encode("latin-1")
                self.assertTrue(raw.startswith(f"{method} /x?y HTTP/1.1\r\n".encode()), raw)
                self.assertTrue(raw.endswith(b"\r\n\r\n\xff\0{"), raw)

    def test_host_is_kept(self) -> None:
        """The upstream sees the client's Host and Accept-Encoding, and where the request came from."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo")}}) as proxy:
            sent = {"Host": "localhost:99", "Accept-Encoding": "br;q=1, odd", "X-Own": "1", "Keep-Alive": "x"}
            raw = proxy.get("/upstream/a/", sent).json()["request"].lower()
            for field in ("host: localhost:99", "accept-encoding: br;q=1, odd", "x-own: 1"):
                self.assertEqual(raw.count(f"\r\n{field}\r\n"), 1, raw)
            self.assertIn("\r\nx-forwarded-for: 127.0.0.1\r\n", raw)
            self.assertNotIn("\r\nkeep-alive:", raw)

    def test_redirect(self) -> None:
        """Without the slash behind the model comes a redirect that keeps the query, and starts nothing."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308)):
                answer = proxy.ask(method, "/upstream/a?x=%2F&y", b"{}" if status == 308 else None)
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["Location"], "/upstream/a/?x=%2F&y")
            self.assertEqual(proxy.journal.events(), [])

    def test_unknown(self) -> None:
        """An unknown model is 404."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            answer = proxy.get("/upstream/nobody/x")
            self.assertEqual(answer.status, 404)
            self.assertIn("nobody", answer.error()["message"])

    def test_assets_start_nothing(self) -> None:
        """A browser's request for a picture or script does not load a model; once loaded, it is served."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            self.assertEqual(proxy.get("/upstream/a/sw.js").status, 409)
            self.assertEqual(proxy.journal.events(), [])
            proxy.served("a")
            self.assertEqual(proxy.get("/upstream/a/sw.js").json()["target"], "/sw.js")

    def test_assets_bring_nothing_back(self) -> None:
        """Neither does it load one again that is being stopped, for another model or for none."""
        models = {"a": fake_model("a", "--term-delay 0.5"), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy, at_once(1) as clients:
            proxy.served("a")
            swap = clients.submit(proxy.served, "b")
            proxy.journal.wait_for("term", "a")
            self.assertEqual(proxy.get("/upstream/a/favicon.ico").status, 409)
            self.assertEqual((swap.result(), [*proxy.running()]), ("b", ["b"]))
            self.assertEqual(proxy.get("/upstream/a/favicon.ico").status, 409)
            self.assertEqual(len(proxy.journal.events("start", "a")), 1)

    def test_pipelined(self) -> None:
        """Requests sent in one go are answered in their order."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            targets = [f"/upstream/a/{number}" for number in range(5)]
            sent = "".join(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n" for target in targets)
            sent += "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            answers = exchange(proxy.port, sent.encode())
            decoder = json.JSONDecoder()
            starts = [place for place in range(len(answers)) if answers.startswith(b'{"served_by"', place)]
            told = [decoder.raw_decode(answers[start:].decode())[0]["target"] for start in starts]
            self.assertEqual(told, [f"/{number}" for number in range(5)])
            self.assertTrue(answers.rstrip().endswith(b"OK") or b"\r\nOK" in answers)
