"""The right model answers each request, on every endpoint, and is told exactly what the client wrote."""

from __future__ import annotations

import itertools
import json
import zlib

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import assert_each_at_once, at_once, exchange
from tests.support_processes import wait_until

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank")
ODD_JSON = b'{ "big":1e400,"x" : "\\ud800\\u0041", "model" :"a",\t"deep":[[[{}]]],"n":1234567890123456789.0 }\r\n'


class SwapTests(SynchronousTestCase):
    """One model at a time, chosen by `model`."""

    def test_every_endpoint(self) -> None:
        """Each endpoint swaps to the model that it names, and the body arrives byte for byte."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            for path in ENDPOINTS:
                for model in ("a", "b"):
                    body = ODD_JSON.replace(b'"a"', b'"%s"' % model.encode())
                    said = proxy.post(path, body).json()
                    self.assertEqual((said["served_by"], said["model"]), (model, model))
                    self.assertEqual((said["body_bytes"], said["body_crc32"]), (len(body), zlib.crc32(body)))
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_speech(self) -> None:
        """Audio comes back as the upstream sent it."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            for model in ("a", "b"):
                answer = proxy.post("/v1/audio/speech", {"model": model, "input": "Hello", "voice": "v"})
                self.assertEqual(answer.body, b"ID3 speech of " + model.encode())
                self.assertEqual(answer.headers["Content-Type"], "audio/mpeg")

    def test_streams(self) -> None:
        """Streamed answers swap like whole ones and arrive complete."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            for path, model in itertools.product(ENDPOINTS[:2], "ab"):
                with proxy.posting(path, {"model": model, "stream": True}) as stream:
                    events = [data for _, data in stream.events()]
                self.assertEqual(stream.headers.get_content_type(), "text/event-stream")
                self.assertEqual(stream.headers["X-Accel-Buffering"], "no")
                self.assertEqual((len(events), events[-1]), (5, b"[DONE]"))
                self.assertEqual({json.loads(data)["model"] for data in events[:-1]}, {model})

    def test_events_are_not_held_back(self) -> None:
        """An event reaches the client while the upstream still makes the next one."""
        models = {"a": fake_model("a", "--stream 4@150")}
        with ProxyUnderTest({"models": models}) as proxy, proxy.stream("a") as stream:
            assert_each_at_once(stream)

    def test_framing(self) -> None:
        """A body that came in chunks goes upstream with its length and nothing else about framing."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo")}}) as proxy:
            half = len(ODD_JSON) // 2
            parts = (ODD_JSON[:half], ODD_JSON[half:], b"")
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            head = b"POST /v1/completions?x=%20y HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            answer = exchange(proxy.port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            raw = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])["request"].encode("latin-1")
            head, _, body = raw.partition(b"\r\n\r\n")
            self.assertEqual(body, ODD_JSON)
            self.assertTrue(head.startswith(b"POST /v1/completions?x=%20y HTTP/1.1\r\n"), head)
            self.assertEqual(head.lower().count(b"content-length: %d" % len(body)), 1)
            self.assertNotIn(b"transfer-encoding", head.lower())

    def test_content_type_is_not_asked(self) -> None:
        """The model is read from JSON bodies whatever they are called, as curl's default demands."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = proxy.ask("POST", "/v1/completions", b'{"model": "b"}', kind)
            self.assertEqual(answer.json()["served_by"], "b")

    def test_use_model_name(self) -> None:
        """The upstream is told `useModelName`; no other byte of the body changes."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo", useModelName="Größe/x")}}) as proxy:
            raw = proxy.post("/v1/completions", ODD_JSON).json()["request"].encode("latin-1")
            head, _, body = raw.partition(b"\r\n\r\n")
            before, _, rest = ODD_JSON.partition(b'"a"')
            self.assertTrue(body.startswith(before), body)
            self.assertTrue(body.endswith(rest), body)
            self.assertEqual(json.loads(body)["model"], "Größe/x")
            self.assertIn(b"content-length: %d" % len(body), head.lower())

    def test_big_bodies(self) -> None:
        """20 MB with pictures in them get an answer like any other."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            body = json.dumps({"picture": "A" * 20_000_000, "model": "a"}).encode()
            said = proxy.post("/v1/chat/completions", body).json()
            self.assertEqual((said["body_bytes"], said["body_crc32"]), (len(body), zlib.crc32(body)))

    def test_an_alias_may_hold_a_colon(self) -> None:
        """A whole name that is known wins over a profile's prefix."""
        config = fake_models("a", "b", profiles={"p": ["a"]})
        config["models"]["b"]["aliases"] = ["p:a"]
        with ProxyUnderTest(config) as proxy:
            self.assertEqual(proxy.served("p:a"), "b")

    def test_twistd(self) -> None:
        """The service behind `twistd` is the same."""
        with ProxyUnderTest(fake_models("a", "b"), twistd=True) as proxy:
            self.assertEqual([proxy.served("a"), proxy.served("b")], ["a", "b"])


class ProfileTests(SynchronousTestCase):
    """A list profile loads its members together."""

    def config(self) -> dict[str, object]:
        """Return a profile of two, and a model outside of it."""
        names = ("one", "two", "other")
        models = {name: fake_model(name, "--load-delay 0.5") for name in names}
        return {"models": models, "profiles": {"both": ["one", "two"]}}

    def test_members_run_side_by_side(self) -> None:
        """The rest stops, all members start at once, and stay while either is asked."""
        with ProxyUnderTest(self.config()) as proxy, at_once(1) as clients:
            proxy.served("other")
            asked = clients.submit(proxy.served, "both:one")
            wait_until(lambda: proxy.running() == {"one": "starting", "two": "starting"}, 5, "two loads at once")
            self.assertEqual(len(proxy.journal.events("exit", "other")), 1)
            self.assertEqual(asked.result(), "one")
            self.assertEqual([proxy.served("both:two"), proxy.served("both:one")], ["two", "one"])
            self.assertEqual(len(proxy.journal.events("start")), 3)
            self.assertEqual(set(proxy.running()), {"one", "two"})

    def test_plain_name_afterwards(self) -> None:
        """The model that is asked for alone keeps running, the rest stops; the profile brings it back."""
        with ProxyUnderTest(self.config()) as proxy:
            proxy.served("both:one")
            proxy.journal.wait_for("bind", "two")
            self.assertEqual(proxy.served("one"), "one")
            proxy.journal.wait_for("exit", "two")
            wait_until(lambda: set(proxy.running()) == {"one"}, 5, "the end of the other model")
            self.assertEqual(proxy.served("both:two"), "two")
            self.assertEqual(len(proxy.journal.events("start", "one")), 1)
            self.assertEqual(len(proxy.journal.events("start", "two")), 2)

    def test_unknown_names(self) -> None:
        """Unknown models and profiles, and models that are no members, are 404 and start nothing."""
        with ProxyUnderTest(self.config()) as proxy:
            for name in ("nobody", "both:other", "both:nobody", "nowhere:one", "both:", ":one", "both:one:"):
                answer = proxy.chat(name)
                self.assertEqual(answer.status, 404, name)
                self.assertEqual(answer.error()["type"], "invalid_request_error")
                self.assertIn(name.partition(":")[2], answer.error()["message"])
            self.assertEqual(proxy.journal.events(), [])
