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
        slow = fake_model("slow", "--first-byte-delay 3", timeouts={"responseHeader": 0.3})
        steady = fake_model("steady", "--stream 6@100", timeouts={"responseHeader": 0.3})
        with ProxyUnderTest({"models": {"slow": slow, "steady": steady}}) as proxy:
            answer = proxy.chat("slow")
            self.assertEqual(answer.status, 502)
            self.assertIn("timeouts.responseHeader", answer.error()["message"])
            self.assertLess(answer.seconds, 2)
            with proxy.stream("steady") as stream:
                self.assertEqual([data for _, data in stream.events()][-1], b"[DONE]")
