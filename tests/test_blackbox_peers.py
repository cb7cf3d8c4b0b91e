"""Two proxies, one of which is the peer of the other."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_models
from tests.support_processes import free_port, wait_until
from tests.test_blackbox_reload import reload


def listed(proxy: ProxyUnderTest) -> list[str]:
    """Return the ids that a proxy lists."""
    return [entry["id"] for entry in json.loads(proxy.get("/v1/models").body)["data"]]


def reachable(proxy: ProxyUnderTest, name: str) -> bool | None:
    """Return whether a proxy says that the peer answers which has a model."""
    [entry] = [entry for entry in json.loads(proxy.get("/v1/models").body)["data"] if entry["id"] == name]
    answers: bool | None = entry["meta"]["llamaswap"].get("reachable")
    return answers


class PeerTests(SynchronousTestCase):
    """What one has is listed by the other, and served through it."""

    def test_discovery(self) -> None:
        """With a key, at the start and after a reload; also if both are peers of each other."""
        there = fake_models("m", apiKeys=["theirs"])
        with ProxyUnderTest(there) as other:
            peer = {"proxy": f"http://127.0.0.1:{other.port}", "apiKey": "theirs"}
            config = fake_models("a", peers={"p": peer})
            with ProxyUnderTest(config) as proxy:
                wait_until(lambda: listed(proxy) == ["a", "p/m"], 5, "the models of the peer")
                for name in ("p/m", "m"):
                    self.assertEqual(proxy.served(name), "m")
                    self.assertEqual(proxy.get(f"/upstream/{name}/health").status, 200)
                back = {"proxy": f"http://127.0.0.1:{proxy.port}"}
                reload(other, {**there, "apiKeys": [], "peers": {"back": back}})
                wait_until(lambda: listed(other) == ["back/a", "m"], 5, "the models of the first one")
                reload(proxy, {**config, "peers": {"q": peer}})
                wait_until(lambda: listed(proxy) == ["a", "q/m"], 5, "the models of the same peer")

    def test_unreachable(self) -> None:
        """A peer that is not there costs nothing but a warning, and does not hold up the end."""
        config = fake_models("a", peers={"p": {"proxy": "http://127.0.0.1:9"}})
        with ProxyUnderTest(config) as proxy:
            proxy.wait_for_log("peer p does not answer http://127.0.0.1:9/v1/models as it should")
            self.assertEqual(listed(proxy), ["a"])
            self.assertEqual(proxy.served("a"), "a")
            self.assertLess(proxy.stop(), 5)

    def test_tailcat(self) -> None:
        """Nor can one be that is reached by way of Tailcat only; our own models are served."""
        peers = {"far": {"proxy": "tailcat://tcABC", "tailcatKey": "ephemeral", "models": ["x"]}}
        with ProxyUnderTest({**fake_models("a"), "peers": peers}) as proxy:
            answer = proxy.chat("far/x")
            self.assertEqual(answer.status, 502)
            self.assertIn("peer proxy error", answer.error()["message"])
            self.assertEqual(proxy.served("a"), "a")

    def test_down_and_up_again(self) -> None:
        """Whether a peer is there is listed, and it is served again as soon as it is back."""
        port = free_port()
        config = fake_models("a", peers={"p": {"proxy": f"http://127.0.0.1:{port}", "models": ["m"]}})
        with ProxyUnderTest(config) as proxy:
            wait_until(lambda: reachable(proxy, "p/m") is False, 5, "the peer to be missed")
            answer = proxy.chat("m")
            self.assertEqual(answer.status, 502)
            self.assertIn(b"see whether it runs, and whether peers.p.proxy", answer.body)
            with ProxyUnderTest(fake_models("m"), "--listen", f"127.0.0.1:{port}"):
                self.assertEqual(proxy.served("m"), "m")
                self.assertEqual(proxy.served("p/m"), "m")
                wait_until(lambda: reachable(proxy, "p/m"), 12, "the peer to be seen")
            wait_until(lambda: proxy.chat("m").status == 502, 5, "the end of the peer")
            wait_until(lambda: reachable(proxy, "p/m") is False, 12, "the peer to be missed again")
