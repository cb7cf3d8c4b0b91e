"""Two proxies, one of which is the peer of the other."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_models
from tests.support_processes import wait_until
from tests.test_blackbox_reload import reload


def listed(proxy: ProxyUnderTest) -> list[str]:
    """Return the ids that a proxy lists."""
    return [entry["id"] for entry in json.loads(proxy.get("/v1/models").body)["data"]]


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
                self.assertEqual(proxy.served("p/m"), "m")
                back = {"proxy": f"http://127.0.0.1:{proxy.port}"}
                reload(other, {**there, "apiKeys": [], "peers": {"back": back}})
                wait_until(lambda: listed(other) == ["back/a", "m"], 5, "the models of the first one")
                reload(proxy, {**config, "peers": {"q": peer}})
                wait_until(lambda: listed(proxy) == ["a", "q/m"], 5, "the models of the same peer")

    def test_unreachable(self) -> None:
        """A peer that is not there costs nothing but a warning, and does not hold up the end."""
        config = fake_models("a", peers={"p": {"proxy": "http://127.0.0.1:9"}})
        with ProxyUnderTest(config) as proxy:
            proxy.wait_for_log("peer p does not say at http://127.0.0.1:9/v1/models what it has")
            self.assertEqual(listed(proxy), ["a"])
            self.assertEqual(proxy.served("a"), "a")
            self.assertLess(proxy.stop(), 5)
