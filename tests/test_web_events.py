"""Events: what is told, in which form, and to slow readers."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from llama_swap.config.model import Capabilities, Config, ModelConfig, Peer, PinProfile
from llama_swap.config.sections import UIActivityConfig, UIConfig
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.metrics.rfc3339 import seconds_of, text_of
from llama_swap.routing.names import Names
from llama_swap.routing.peers import Seen
from llama_swap.routing.upstream import Mishap
from llama_swap.web import events, statuses
from llama_swap.web.events import EVERY, MAX_FEEDS, EventRoutes
from llama_swap.web.front import Front
from tests.fakes_web import app_with, models, site_of
from tests.fakes_wire import Client
from tests.test_web_activity import ASK, CHAT, STREAM, ActivityCase

FIRST = ["logData", "logData", "modelStatus", "uiConfig", "profileChanged", "inflight"]


class Listener(Client):
    """A client that listens to events."""

    def listen(self, query: str = "") -> None:
        """Begin; the head of the answer is taken."""
        self.ask("GET", f"/api/events{query}")
        head, _, self._rest = self.wire.take().partition(b"\r\n\r\n")
        self.head = head

    def told(self) -> list[tuple[str, Any]]:
        """Return type and data of each event since the last call."""
        stream, self._rest = self._rest + self.wire.take(), b""
        content = b""
        while stream:
            size, _, stream = stream.partition(b"\r\n")
            content, stream = content + stream[: int(size, 16)], stream[int(size, 16) + 2 :]
        events = []
        for event in content.decode().split("\n\n")[:-1]:
            if event.startswith(":"):
                events.append(("comment", event))
                continue
            name, data = event.split("\n")
            assert name == "event:message"
            message = json.loads(data.removeprefix("data:"))
            events.append((message["type"], json.loads(message["data"])))
        return events


class EventCase(ActivityCase):
    """A proxy with events."""

    def setUp(self) -> None:
        super().setUp()
        self.logs = Broadcaster()
        self.routes = EventRoutes(self.router, self.records, self.logs, self.clock)
        self.events_site = site_of(Front(app_with(self.routes.add_to)))
        self.addCleanup(self.check_end)

    def check_end(self) -> None:
        """Nothing is left to be done."""
        self.records.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def listener(self, query: str = "") -> Listener:
        """Return a client that listens, and is gone when the test ends."""
        listener = Listener(self.events_site)
        listener.listen(query)
        self.addCleanup(listener.leave)
        return listener


class EventTests(EventCase):
    """What is told."""

    def test_first(self) -> None:
        """History and state come first, in this order, whatever they hold."""
        self.logs.publish_proxy(b"one")
        self.router.upstreams.alive = {"a": "ready"}
        listener = self.listener()
        self.assertIn(b"Content-Type: text/event-stream", listener.head)
        self.assertIn(b"X-Accel-Buffering: no", listener.head)
        told = listener.told()
        self.assertEqual([kind for kind, _ in told], FIRST)
        data = [data for _, data in told]
        self.assertEqual(data[:2], [{"source": "proxy", "data": "one\n"}, {"source": "upstream", "data": ""}])
        self.assertEqual(
            data[2],
            [
                {
                    "id": "a",
                    "name": "",
                    "description": "",
                    "state": "ready",
                    "unlisted": False,
                    "peerID": "",
                    "aliases": [],
                }
            ],
        )
        self.assertEqual(data[3]["activity"]["session_id"][0], "X-Session-ID")
        self.assertEqual(data[4:], [{"active": None}, {"operation": "snapshot", "requests": []}])

    def test_without_logs(self) -> None:
        """A page that shows no lines need not be sent any."""
        listener = self.listener("?no-logs")
        self.assertEqual([kind for kind, _ in listener.told()], FIRST[2:])
        self.logs.publish_proxy(b"one")
        self.router.upstreams.alive = {"a": "ready"}
        self.clock.advance(EVERY)
        self.assertEqual([kind for kind, _ in listener.told()], ["modelStatus"])

    def test_models(self) -> None:
        """A change of state is told once, to all; so is another configuration."""
        listeners = [self.listener(), self.listener()]
        self.clock.advance(EVERY)
        for listener in listeners:
            listener.told()
        self.router.upstreams.alive = {"a": "starting"}
        self.clock.pump([EVERY] * 4)
        for listener in listeners:
            [(kind, [model])] = listener.told()
            self.assertEqual((kind, model["state"]), ("modelStatus", "starting"))
        changed = evolve(self.router.config.models["a"], name="A")
        self.router.config = evolve(self.router.config, models={"a": changed})
        self.clock.advance(EVERY)
        [(_, [model])] = listeners[0].told()
        self.assertEqual(model["name"], "A")

    def test_failure(self) -> None:
        """Of a model that has failed, everybody learns when and why, even if no state of it was ever seen."""
        self.ahead = seconds_of("2026-01-02T03:04:00Z") - self.clock.seconds()
        listener = self.listener("?no-logs")
        listener.told()
        self.router.upstreams.failed = {"a": Mishap("no memory", self.clock.seconds())}
        self.clock.advance(EVERY)
        [(kind, [model])] = listener.told()
        self.assertEqual((kind, model["state"]), ("modelStatus", "stopped"))
        self.assertEqual(model["failure"], {"at": "2026-01-02T03:04:00Z", "message": "no memory"})

    def test_ready_since(self) -> None:
        """Of a model that is ready, everybody learns since when, and for how long by the time of telling."""
        self.ahead = seconds_of("2026-01-02T03:04:00Z") - self.clock.seconds()
        self.router.upstreams.alive, self.router.upstreams.since = {"a": "ready"}, {"a": self.clock.seconds()}
        for passed in (0, 1500):
            told = dict(self.listener("?no-logs").told())
            [model] = told["modelStatus"]
            self.assertEqual((model["readySince"], model["uptimeMs"]), ("2026-01-02T03:04:00Z", passed))
            self.clock.advance(1.5)
        self.router.upstreams.alive, self.router.upstreams.since = {"a": "stopping"}, {}
        [model] = dict(self.listener("?no-logs").told())["modelStatus"]
        self.assertEqual(model.keys() & {"readySince", "uptimeMs"}, set())

    def test_ready_again(self) -> None:
        """A model that went and came back between two looks is told anew: it is ready since later."""
        self.router.upstreams.alive, self.router.upstreams.since = {"a": "ready"}, {"a": self.clock.seconds()}
        listener = self.listener()
        listener.told()
        self.clock.advance(EVERY)
        self.assertEqual(listener.told(), [])
        self.router.upstreams.since = {"a": self.clock.seconds() - EVERY / 2}
        self.clock.pump([EVERY] * 2)
        [model] = self.told_models(listener)
        self.assertEqual(model["readySince"], text_of(self.router.upstreams.since["a"]))

    def test_page_settings(self) -> None:
        """What the configuration has for pages is told at first, and once when it has changed."""
        listener = self.listener()
        listener.told()
        other = UIConfig(activity=UIActivityConfig(session_id=("X-Chat",)))
        self.router.config = evolve(self.router.config, ui=other)
        self.clock.pump([EVERY] * 2)
        told = [news for news in listener.told() if news[0] != "modelStatus"]  # as with any other configuration
        self.assertEqual(told, [("uiConfig", {"activity": {"session_id": ["X-Chat"]}})])

    def test_abilities(self) -> None:
        """What is told of a model is told here, too."""
        self.router.config = Config(models=models("a", capabilities=Capabilities(tools=True, context=4096)))
        [able] = self.told_models(self.listener())
        told = (able["context_length"], able["capabilities"], able["peerID"])
        self.assertEqual(told, (4096, {"function_calling": True}, ""))
        self.assertNotIn("architecture", able)

    def test_peers(self) -> None:
        """The models of peers follow, with what is known of them; news is told once."""
        self.router.peers.follow({"p": Peer(proxy="http://p", models=("m",)), "q": Peer(proxy="http://q")})
        listener = self.listener()
        own, remote = self.told_models(listener)
        self.assertEqual((own["id"], own["peerID"], "context_length" in own), ("a", "", False))
        self.assertEqual((remote["id"], remote["peerID"], remote["state"]), ("p/m", "p", "unknown"))
        for seen, state in ((Seen(("n",)), "unknown"), (Seen(("n",), answers=False), "stopped")):
            self.router.peers.saw("q", seen)
            self.clock.pump([EVERY] * 2)
            [last] = [model for model in self.told_models(listener) if model["peerID"] == "q"]
            self.assertEqual((last["id"], last["state"]), ("q/n", state))
            self.clock.pump([EVERY] * 2)
            self.assertEqual(listener.told(), [])

    def told_models(self, listener: Listener) -> list[dict[str, Any]]:
        """Return what a listener was told of the models, which was told once."""
        [models] = [data for kind, data in listener.told() if kind == "modelStatus"]
        return list(models)

    def test_encoded_once(self) -> None:
        """Of models that are stopped, nothing is encoded again for the next page or the next change: of thousands, that
        takes 8 ms, for which streams would wait."""
        self.router.config = Config(models={**models("a"), **models("b"), **models("c")})
        described, describe = [], statuses._of_own

        def of_own(model: ModelConfig, state: str) -> dict[str, Any]:
            described.append((model.id, state))
            return describe(model, state)

        self.patch(statuses, "_of_own", of_own)
        listener, _ = self.listener("?no-logs"), self.listener("?no-logs")
        self.router.upstreams.alive = {"b": "starting"}
        self.clock.advance(EVERY)
        stopped = [(model, "stopped") for model in "abc"]
        self.assertEqual(described, [*stopped, ("b", "starting")])
        (_, before), (_, now) = [event for event in listener.told() if event[0] == "modelStatus"]
        self.assertEqual([(model["id"], model["state"]) for model in before], stopped)
        self.assertEqual([model["state"] for model in now], ["stopped", "starting", "stopped"])

    def test_profile(self) -> None:
        """Another active profile is told once."""
        listener = self.listener()
        listener.told()
        config = evolve(self.router.config, pin_profiles={"x": PinProfile()})
        self.router.names = Names(config, "x")
        self.clock.pump([EVERY] * 2)
        self.assertEqual(listener.told(), [("profileChanged", {"active": "x"})])

    def test_requests(self) -> None:
        """A request comes, grows and goes; its activity is told after that."""
        listener = self.listener()
        listener.told()
        self.client.ask("POST", CHAT, ASK)
        self.clock.pump([EVERY] * 3)
        wire = self.upstream()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        self.clock.pump([EVERY] * 3)
        wire.deliver(b"0\r\n\r\n")
        self.clock.pump([EVERY] * 3)
        first, second, gone, activity = listener.told()
        self.assertEqual((first[0], first[1]["operation"], first[1]["request"]["id"]), ("inflight", "upsert", "1"))
        self.assertEqual((first[1]["request"]["resp_bytes"], second[1]["request"]["resp_bytes"] > 0), (0, True))
        self.assertEqual(gone, ("inflight", {"operation": "remove", "id": "1"}))
        self.assertEqual(activity, ("activity", {"id": 1}))

    def test_under_way_before(self) -> None:
        """Who comes later finds requests under way in the snapshot, and no news that is none."""
        self.client.ask("POST", CHAT, ASK)
        listener = self.listener()
        [request] = listener.told()[-1][1]["requests"]
        self.assertEqual(request["model"], "a")
        self.clock.advance(EVERY)
        self.assertEqual(listener.told(), [])
        self.upstream()
        self.client.leave()

    def test_lines(self) -> None:
        """Lines are told by source, after the history, without gap or duplicate; odd bytes do no harm."""
        self.logs.publish_proxy(b"before")
        listener = self.listener()
        self.logs.publish_proxy(b"after")
        self.logs.publish_proxy(b"again")
        self.logs.writer("a").write(b"\xff\n")
        self.assertEqual(listener.told()[0][1]["data"], "before\n")
        self.clock.advance(EVERY)
        self.assertEqual(
            [data for _, data in listener.told()],
            [{"source": "proxy", "data": "after\nagain\n"}, {"source": "upstream", "data": "\ufffd\n"}],
        )

    def test_heartbeat(self) -> None:
        """Silence is interrupted by a comment every 15 s."""
        listener = self.listener()
        listener.told()
        self.clock.pump([EVERY] * 120)
        self.assertEqual(listener.told(), [("comment", ": still here")] * 2)


class FeedTests(EventCase):
    """Those who listen."""

    def test_slow(self) -> None:
        """A client that does not read costs nothing, and is told the state when it reads again."""
        listener = self.listener()
        listener.told()
        listener.wire.fill()
        self.router.upstreams.alive = {"a": "ready"}
        for _ in range(100):
            self.client.ask("POST", CHAT, ASK)
            self.upstream().deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.logs.publish_proxy(b"x" * 10_000)
            self.clock.advance(EVERY)
        self.assertEqual(listener.told(), [])
        listener.wire.drain()
        self.clock.advance(EVERY)
        told = listener.told()
        self.assertEqual(
            [kind for kind, _ in told],
            ["modelStatus", "uiConfig", "profileChanged", "inflight", "activity", "logData"],
        )
        self.assertEqual((told[0][1][0]["state"], told[4][1]), ("ready", {"id": 100}))
        self.assertIn("bytes dropped", told[5][1]["data"])
        self.assertLess(len(told[5][1]["data"]), 300_000)

    def test_made_once(self) -> None:
        """What many clients are told is made once for all of them, lines and the whole state included."""
        listeners = [self.listener() for _ in range(10)]
        made, event = [], events._event

        def make(kind: str, data: str) -> bytes:
            made.append(kind)
            return event(kind, data)

        self.patch(events, "_event", make)
        for listener in listeners[:5]:
            listener.wire.fill()
        for _ in range(2):
            self.logs.publish_proxy(b"line")
            self.router.upstreams.alive = {} if self.router.upstreams.alive else {"a": "ready"}
            self.clock.advance(EVERY)
        for listener in listeners[:5]:
            listener.wire.drain()
        self.clock.advance(EVERY)
        news, state = ["modelStatus", "logData"], ["modelStatus", "uiConfig", "profileChanged", "inflight", "activity"]
        self.assertEqual(made, [*news, *news, *state, "logData"])
        for listener in listeners:
            lines = [event["data"] for kind, event in listener.told() if kind == "logData" and event["data"]]
            self.assertEqual("".join(lines), "line\nline\n")

    def test_too_many(self) -> None:
        """There is an end to those who may listen."""
        for _ in range(MAX_FEEDS):
            self.listener()
        late = Client(self.events_site)
        late.ask("GET", "/api/events")
        self.assertEqual(late.answer().status, 503)

    def test_close(self) -> None:
        """The end of the proxy ends the streams, completely, and no other begins."""
        listener = self.listener()
        listener.told()
        self.routes.close()
        self.assertEqual(listener.wire.take(), b"0\r\n\r\n")
        listener.ask("GET", "/api/events")
        self.assertEqual(listener.answer().status, 503)

    def test_nobody_listens(self) -> None:
        """When the last one has left, nothing is looked at any more."""
        listener = self.listener()
        listener.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.logs.publish_proxy(b"x")

    def test_head(self) -> None:
        """HEAD has the same head, and ends."""
        client = Client(self.events_site)
        client.ask("HEAD", "/api/events")
        self.assertEqual(client.answer("HEAD").status, 200)
