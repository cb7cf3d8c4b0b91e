"""Keys of the file whose effect shows from outside only."""

from __future__ import annotations

import signal

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_processes import wait_until
from tests.test_blackbox_reload import reload


class KeyTests(SynchronousTestCase):
    """One key each."""

    def test_preload(self) -> None:
        """Models are there before anybody asks; after a reload, those that are new."""
        hooks = {"on_startup": {"preload": ["a", "nobody"]}}
        config = fake_models("a", "b", hooks=hooks)
        with ProxyUnderTest(config) as proxy:
            wait_until(lambda: proxy.running() == {"a": "ready"}, 5, "a")
            self.assertIn("nobody", proxy.log())
            self.assertEqual(proxy.served("b"), "b")
            both = {"on_startup": {"preload": ["a", "c"]}}
            reload(proxy, {"models": {**config["models"], "c": fake_model("c")}, "hooks": both})
            wait_until(lambda: proxy.running() == {"c": "ready"}, 5, "c")
            self.assertEqual([event["model"] for event in proxy.journal.events("start")], ["a", "b", "c"])

    def test_global_concurrency_limit(self) -> None:
        """Of all models together, so many requests are served at a time; a reload changes that."""
        models = {"a": fake_model("a", "--stream 10@100"), "b": fake_model("b")}
        config = {"models": models, "globalConcurrencyLimit": 1}
        with ProxyUnderTest(config) as proxy, proxy.stream("a"):
            refused = proxy.chat("b")
            self.assertEqual((refused.status, refused.error()["code"]), (429, "concurrency_limit"))
            self.assertEqual(refused.headers["Retry-After"], "1")
            self.assertEqual(proxy.get("/v1/models").status, 200)
            reload(proxy, {**config, "globalConcurrencyLimit": 0})
            self.assertEqual(proxy.served("b"), "b")

    def test_startup_profile(self) -> None:
        """Its pins hold from the start on, and again after a reload."""
        profiles = {"p": {"pins": {"editor": "a"}}, "q": {"pins": {"editor": "b"}}}
        config = fake_models("a", "b", profiles=profiles, hooks={"on_startup": {"profile": "p"}})
        with ProxyUnderTest(config) as proxy:
            self.assertEqual(proxy.get("/api/profiles").json()["active"], "p")
            self.assertEqual(proxy.served("editor"), "a")
            self.assertEqual(proxy.ask("PUT", "/api/profiles/active", {"name": "q"}).json(), {"active": "q"})
            self.assertEqual(proxy.served("editor"), "b")
            reload(proxy, {**config, "logLevel": "debug"})
            self.assertEqual(proxy.served("editor"), "a")

    def test_nothing_to_start(self) -> None:
        """A model that cannot be started keeps nobody from using the others; nor does a file without models."""
        models = {**fake_models("a")["models"], "none": {"proxy": "http://127.0.0.1:1"}, "empty": None}
        with ProxyUnderTest({"models": models}) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            answer = proxy.chat("none")
            self.assertEqual(answer.status, 502)
            self.assertIn("there is no command (models.none.cmd)", answer.json()["error"]["message"])
            self.assertEqual(proxy.chat("empty").status, 404)
            reload(proxy, {"models": {}})
            self.assertEqual(proxy.get("/v1/models").json()["data"], [])
            reload(proxy, fake_models("b"))
            self.assertEqual(proxy.served("b"), "b")

    def test_preload_and_stop(self) -> None:
        """A proxy that is told to stop while it preloads does so."""
        model = fake_model("a", "--load-delay 30")
        with ProxyUnderTest({"models": {"a": model}, "hooks": {"on_startup": {"preload": ["a"]}}}) as proxy:
            wait_until(proxy.running, 5, "a")
            self.assertLess(proxy.stop(signal.SIGTERM), 5)

    def test_log_to_stdout(self) -> None:
        """What is printed is what was asked for; the log pages have both in any case."""
        for where, own, output in (("both", True, True), ("upstream", False, True), ("none", False, False)):
            with ProxyUnderTest(fake_models("a", logToStdout=where)) as proxy:
                proxy.served("a")
                if output:
                    proxy.wait_for_log("POST /v1/chat/completions")
                self.assertEqual("[INFO]" in proxy.log(), own, where)
                self.assertEqual("POST /v1/chat/completions" in proxy.log(), output, where)
                logged = proxy.get("/logs").body
                self.assertIn(b"[INFO] a: ready", logged)
                self.assertIn(b"POST /v1/chat/completions", logged)

    def test_log_to_stdout_reloaded(self) -> None:
        """Another choice takes effect while the proxy runs."""
        config = fake_models("a", logToStdout="upstream")
        with ProxyUnderTest(config) as proxy:
            proxy.served("a")
            proxy.wait_for_log("POST /v1/chat/completions")
            config["logToStdout"] = "proxy"
            reload(proxy, config)
            printed = proxy.log().count("POST /v1/chat/completions")
            proxy.served("a")
            wait_until(lambda: proxy.get("/logs").body.count(b"POST /v1/chat") > printed, 5, "the model's line")
            reload(proxy, config)  # says so behind that line, if it is printed
            self.assertEqual(proxy.log().count("POST /v1/chat/completions"), printed)

    def test_log_format(self) -> None:
        """Level and layout of the proxy's own lines; both can change while it runs."""
        config = fake_models("a", logLevel="warn", logTimeFormat="kitchen")
        with ProxyUnderTest(config) as proxy:
            proxy.served("a")
            self.assertNotIn("[INFO]", proxy.log())
            reload(proxy, {**config, "logLevel": "info"})
            self.assertRegex(proxy.log(), r"\d+:\d\d[AP]M \[INFO\] configuration reloaded")

    def test_response_header(self) -> None:
        """A model that thinks for longer than it may has its request cut; one that streams on does not."""
        slow = fake_model("slow", "--hold", timeouts={"responseHeader": 0.3})
        steady = fake_model("steady", "--stream 6@100", timeouts={"responseHeader": 0.3})
        with ProxyUnderTest({"models": {"slow": slow, "steady": steady}}) as proxy:
            answer = proxy.chat("slow")
            self.assertEqual(answer.status, 502)
            self.assertIn("timeouts.responseHeader", answer.error()["message"])
            with proxy.stream("steady") as stream:
                self.assertEqual([data for _, data in stream.events()][-1], b"[DONE]")

    def test_global_ttl(self) -> None:
        """It holds for models that say nothing, or −1; 0 of a model's own is for ever."""
        models = {"a": fake_model("a"), "b": fake_model("b", ttl=-1), "c": fake_model("c", ttl=0)}
        groups = {"g": {"swap": False, "members": list(models)}}
        with ProxyUnderTest({"models": models, "groups": groups, "globalTTL": 1}) as proxy:
            for model in models:
                proxy.served(model)
            wait_until(lambda: proxy.running() == {"c": "ready"}, 5, "the end of a and b")
            self.assertEqual(proxy.get("/running").json()["running"][0]["ttl"], 0)

    def test_routing(self) -> None:
        """Groups and priorities where today's files have them."""
        members = {"settings": {"groups": {"g": {"swap": False, "members": ["a", "b"]}}}, "use": "group"}
        scheduler = {"use": "fifo", "settings": {"fifo": {"priority": {"b": 5}}}}
        config = fake_models("a", "b", "c", routing={"router": members, "scheduler": scheduler})
        with ProxyUnderTest(config) as proxy:
            for model in ("a", "b"):
                proxy.served(model)
            self.assertEqual(proxy.running(), {"a": "ready", "b": "ready"})
            proxy.served("c")
            self.assertEqual(proxy.running(), {"c": "ready"})

    def test_what_is_kept(self) -> None:
        """So many entries of the activity, with the session of the client's choice, and no captures if none fit."""
        ui = {"activity": {"session_id": ["X-Chat"]}}
        config = fake_models("a", metricsMaxInMemory=3, captureBuffer=0, ui=ui)
        with ProxyUnderTest(config) as proxy:
            for number in range(5):
                body = b'{"model": "a"}'
                proxy.ask("POST", "/v1/chat/completions", body, {"X-Chat": f"c{number}", "X-Session-ID": "other"})
            found = proxy.get("/api/metrics/activity?order=asc").json()
            self.assertEqual((found["total"], [entry["id"] for entry in found["data"]]), (3, [3, 4, 5]))
            kept = [(entry["metadata"], entry["has_capture"]) for entry in found["data"]]
            self.assertEqual(kept, [({"session_id": f"c{number}"}, False) for number in (2, 3, 4)])
            self.assertEqual(proxy.get("/api/captures/5").status, 404)

    def test_performance(self) -> None:
        """Nobody looks at the hardware who was told not to; what the machine is made of can be asked for."""
        with ProxyUnderTest(fake_models("a", performance={"disabled": True})) as proxy:
            answer = proxy.get("/api/performance")
            self.assertEqual((answer.status, answer.json()), (503, {"enabled": False}))
            self.assertEqual((proxy.get("/metrics").status, proxy.get("/api/hardware").status), (503, 200))
