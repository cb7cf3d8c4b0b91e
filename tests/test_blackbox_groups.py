"""Groups, a matrix, selectors, profiles of pins and peers, with real processes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import at_once
from tests.support_processes import free_port


class GroupTests(SynchronousTestCase):
    """Models that take turns, and models that do not."""

    def test_takes_turns(self) -> None:
        """However requests alternate, one member of a group is alive at a time; the persistent model stays."""
        models = {name: fake_model(name, concurrencyLimit=20) for name in "abc"}
        groups = {
            "turns": {"members": ["a", "b"]},
            "always": {"members": ["c"], "persistent": True, "exclusive": False},
        }
        with ProxyUnderTest({"models": models, "groups": groups}) as proxy, at_once(20) as clients:
            self.assertEqual(proxy.served("c"), "c")
            answers = list(clients.map(proxy.chat, "ab" * 10))
            self.assertEqual([answer.status for answer in answers], [200] * 20)
            self.assertEqual(proxy.journal.most_alive("a", "b"), 1)
            self.assertEqual(len(proxy.journal.events("start", "c")), 1)
            self.assertIn("c", proxy.running())

    def test_a_slow_stop_delays_nobody_else(self) -> None:
        """While one group waits for a model that takes its time to leave, the others serve and swap."""
        models = {"a": fake_model("a", "--term-delay 3"), **{name: fake_model(name) for name in "bcd"}}
        groups = {
            "one": {"members": ["a", "b"], "exclusive": False},
            "two": {"members": ["c", "d"], "exclusive": False},
        }
        with ProxyUnderTest({"models": models, "groups": groups}) as proxy, at_once(1) as client:
            proxy.chat("a")
            proxy.chat("c")
            swap = client.submit(proxy.chat, "b")
            proxy.journal.wait_for("term", "a")
            for name in "cdc":
                self.assertEqual(proxy.served(name), name)
            self.assertEqual(proxy.get("/running").status, 200)
            self.assertFalse(swap.done())
            self.assertEqual(swap.result().status, 200)

    def test_swapping_away_from_a_stuck_model(self) -> None:
        """It takes as long as `unloadTimeout` allows, not longer."""
        models = {"a": fake_model("a", "--term-delay 60", unloadTimeout=1), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy:
            proxy.chat("a")
            self.assertEqual(proxy.served("b"), "b")


class MatrixTests(SynchronousTestCase):
    """Combinations."""

    def test_evicts_the_cheapest(self) -> None:
        """What fits stays, what does not goes, and only what was asked for starts."""
        matrix = {"evict_costs": {"c": 3}, "sets": {"one": "x & (a | c)", "two": "a & c"}}
        with ProxyUnderTest(fake_models("a", "c", "x", matrix=matrix)) as proxy:
            for name, alive in (("a", {"a"}), ("c", {"a", "c"}), ("x", {"c", "x"}), ("a", {"a", "c"})):
                self.assertEqual(proxy.served(name), name)
                self.assertEqual(set(proxy.running()), alive)


class NameTests(SynchronousTestCase):
    """Names that stand for others."""

    def test_selectors_and_pins(self) -> None:
        """A selector prefers what is loaded; a profile changes what a name means; the server is told its own name."""
        more = {
            "selectors": {"any": {"strategy": "warm", "targets": ["a", "b"]}},
            "profiles": {"p": {"pins": {"x": "b", "y": "any", "a": None}}},
        }
        with ProxyUnderTest(fake_models("a", "b", **more)) as proxy:
            self.assertEqual(proxy.chat("any").json()["served_by"], "a")
            self.assertEqual(proxy.chat("x").status, 404)
            proxy.chat("b")
            said = proxy.chat("any").json()
            self.assertEqual((said["served_by"], said["model"]), ("b", "b"))
            self.assertEqual(proxy.ask("PUT", "/api/profiles/active", {"name": "p"}).json(), {"active": "p"})
            for name in "xy":
                self.assertEqual(proxy.chat(name).json()["served_by"], "b")
            self.assertEqual(proxy.chat("a").status, 404)
            self.assertEqual(proxy.get("/upstream/x/health").status, 200)
            self.assertEqual(proxy.get("/upstream/any/health").status, 404)
            self.assertEqual(proxy.ask("PUT", "/api/profiles/active", {"name": "q"}).status, 404)


class PeerTests(SynchronousTestCase):
    """Two proxies, one of which asks the other."""

    def test_models_of_a_peer(self) -> None:
        """They are listed, answer and stream, and need a key that no client of ours has."""
        with ProxyUnderTest(fake_models("m", apiKeys=["theirs"])) as other:
            peer = {"proxy": f"http://127.0.0.1:{other.port}", "models": ["m"], "apiKey": "theirs"}
            with ProxyUnderTest(fake_models("a", peers={"p": peer})) as proxy:
                listed = [entry["id"] for entry in proxy.get("/v1/models").json()["data"]]
                self.assertEqual(listed, ["a", "p/m"])
                for name in ("p/m", "m"):
                    said = proxy.chat(name).json()
                    self.assertEqual((said["served_by"], said["model"]), ("m", "m"))
                with proxy.stream("p/m") as stream:
                    self.assertEqual([*stream.events()][-1][1], b"[DONE]")
                self.assertEqual(proxy.running(), {})
            self.assertEqual(other.chat("m").status, 401)

    def test_a_peer_that_is_not_there(self) -> None:
        """The client is told that it is the peer."""
        peer = {"proxy": f"http://127.0.0.1:{free_port()}", "models": ["m"]}
        with ProxyUnderTest(fake_models("a", peers={"p": peer})) as proxy:
            answer = proxy.chat("p/m")
            self.assertEqual(answer.status, 502)
            self.assertIn("peer proxy error: peer p at ", answer.error()["message"])
            self.assertEqual(proxy.chat("p/other").status, 404)
