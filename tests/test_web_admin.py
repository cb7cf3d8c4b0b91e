"""The routes about the models rather than to them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from attrs import evolve
from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from llama_swap.config.model import Config, ModelConfig, Peer, PinProfile
from llama_swap.routing.names import Names
from llama_swap.routing.peers import Seen
from llama_swap.web import listing
from llama_swap.web.admin import AdminRoutes
from llama_swap.web.front import Front
from tests.fakes_web import FakeRouter, app_with, models, site_of
from tests.fakes_wire import Client

HOME = "http://proxy.test"
CREATED = 1_700_000_000

NASTY = "a/b:<c> \"d\"&'e'?%#ü"

MODELS = {
    **models("b", name="Bee", description="A bee.", ttl=60, aliases=("alias",)),
    **models("a/x", proxy="http://127.0.0.1:9"),
    **models(NASTY),
    **models("/lead/er", unlisted=True),
    **models("hidden", unlisted=True),
}


class AdminTests(SynchronousTestCase):
    """Each route, asked by treq."""

    def setUp(self) -> None:
        """Make the routes."""
        self.router = FakeRouter(Config(models=MODELS))
        self.app = app_with(AdminRoutes(self.router, CREATED).add_to)
        self.treq = StubTreq(self.app.resource())

    def ask(self, method: str, path: str) -> tuple[int, str | None, str]:
        """Return status, type and text of a page."""
        response = self.successResultOf(self.treq.request(method, HOME + path, allow_redirects=False))
        [kind] = response.headers.getRawHeaders("Content-Type", [None])
        return response.code, kind, self.successResultOf(self.treq.text_content(response, "utf-8"))

    def json(self, path: str) -> Any:
        """Return what a page says."""
        status, kind, text = self.ask("GET", path)
        self.assertEqual((status, kind), (200, "application/json"))
        return json.loads(text)

    def test_health(self) -> None:
        """Health is a matter of the proxy alone."""
        self.assertEqual(self.ask("GET", "/health"), (200, "text/plain; charset=utf-8", "OK"))

    def test_models(self) -> None:
        """The list is sorted, is OpenAI's, and leaves out unlisted models and aliases."""
        listed = self.json("/v1/models")
        own = {
            "object": "model",
            "created": CREATED,
            "owned_by": "llama-swap",
            "meta": {"llamaswap": {"type": "model"}},
            "status": {"value": "unloaded"},
        }
        meta = {"llamaswap": {"type": "model", "aliases": ["alias"]}}
        self.assertEqual(listed["object"], "list")
        self.assertEqual(
            listed["data"],
            [
                {"id": "a/b:<c> \"d\"&'e'?%#ü", **own},
                {"id": "a/x", **own},
                {"id": "b", **own, "name": "Bee", "description": "A bee.", "meta": meta},
            ],
        )
        self.assertEqual(self.json("/models"), listed)

    def test_loaded(self) -> None:
        """A model is loading until it is ready, and counts as unloaded from the first order to stop."""
        for state, said in (("starting", "loading"), ("ready", "loaded"), ("stopping", "unloaded")):
            self.router.upstreams.alive = {"b": state}
            self.assertEqual(self.json("/v1/models")["data"][2]["status"], {"value": said})

    def test_whatever_changes(self) -> None:
        """What was encoded for an earlier list is not shown once it is no longer so."""
        config = evolve(
            self.router.config,
            models={**MODELS, "new": evolve(MODELS["b"], id="new")},
            pin_profiles={"night": PinProfile(pins={"b": None, "late": "new"})},
            peers={"p": Peer(proxy="http://p")},
        )

        def reload() -> None:
            self.router.config = config
            self.router.peers.follow(config.peers)
            self.router.names = Names(config, peers=self.router.peers)

        seen = []
        for change in (
            lambda: None,
            lambda: self.router.upstreams.alive.update(b="starting"),
            reload,
            lambda: self.router.peers.saw("p", Seen(("far",))),
            lambda: self.router.peers.saw("p", Seen(("far",), answers=False)),
            lambda: setattr(self.router, "names", Names(config, "night", peers=self.router.peers)),
            lambda: self.router.upstreams.alive.update(new="ready", b="stopping"),
            lambda: self.router.peers.forget("p"),
            self.router.upstreams.alive.clear,
        ):
            change()
            told = self.json("/v1/models")
            afresh = AdminRoutes(self.router, CREATED)
            self.assertEqual(told, json.loads(afresh.models(DummyRequest([b""]))))
            self.assertNotIn(told, seen)
            seen.append(told)

    def test_encoded_once(self) -> None:
        """However often the list is asked for, only the states are put in anew: of thousands of models, the rest takes
        10 ms, for which streams would wait."""
        described, describe = [], listing._whole

        def whole(model: ModelConfig) -> dict[str, Any]:
            described.append(model.id)
            return describe(model)

        self.patch(listing, "_whole", whole)
        for state in ("starting", "ready"):
            self.router.upstreams.alive = {"b": state}
            self.json("/v1/models")
        self.assertEqual(sorted(described), sorted(["a/x", "b", NASTY]))

    def test_model(self) -> None:
        """One model is shown as in the list, whatever its name is made of, and in other words than a missing page."""
        odd, slashed, _ = self.json("/v1/models")["data"]
        for path in ("/v1/models/a/x", "/v1/models/a%2Fx", "/models/a/x"):
            self.assertEqual(self.json(path), slashed)
        self.assertEqual(self.json(f"/v1/models/{quote(odd['id'], safe='')}"), odd)
        self.assertEqual(self.json("/v1/models/alias")["id"], "alias")
        status, _, text = self.ask("GET", "/v1/models/no/body")
        message = "no model 'no/body' here; GET /v1/models lists what there is"
        self.assertEqual((status, json.loads(text)["error"]["message"]), (404, message))

    def test_process(self) -> None:
        """How one model is run is shown whether it runs or not, as `/running` shows it."""
        stopped = self.json("/api/processes/alias")
        self.assertEqual((stopped["model"], stopped["state"], stopped["ttl"]), ("b", "stopped", 60))
        self.router.upstreams.alive = {"b": "ready"}
        [running] = self.json("/running")["running"]
        self.assertEqual(self.json("/api/processes/b"), running)
        self.assertEqual({**stopped, "state": "ready"}, running)
        self.assertEqual(self.json("/api/processes/a%2Fx")["proxy"], "http://127.0.0.1:9")
        self.assertEqual(self.ask("GET", "/api/processes/nobody")[0], 404)

    def test_first_slash(self) -> None:
        """A name that begins with a slash, as vLLM's do, is found however it is spelled."""
        client = Client(site_of(Front(self.app)))
        for spelled in ("%2Flead%2Fer", "/lead/er"):
            for page in ("/v1/models/", "/models/", "/api/processes/"):
                client.ask("GET", page + spelled)
                told = json.loads(client.answer().body)
                self.assertEqual(told.get("id", told.get("model")), "/lead/er")
            client.ask("POST", f"/api/models/unload/{spelled}")
            self.assertEqual((client.answer().status, self.router.unloaded.pop()), (200, ["/lead/er"]))

    def test_unload_one(self) -> None:
        """A model is unloaded by its id or alias, slashes and all; one that is not there is said not to be."""
        for path, model in (("b", "b"), ("alias", "b"), ("a/x", "a/x"), ("a%2Fx", "a/x")):
            self.assertEqual(self.unload(path), (200, b"OK"))
            self.assertEqual(self.router.unloaded.pop(), [model])
        status, body = self.unload("nobody")
        self.assertEqual((status, json.loads(body)["error"]["message"]), (404, "model not found"))

    def test_unload_by_get(self) -> None:
        """What is asked for in the wrong way is there, and says so."""
        for path in ("/api/models/unload", "/api/models/unload/b"):
            response = self.successResultOf(self.treq.get(HOME + path))
            self.assertEqual((response.code, response.headers.getRawHeaders("Allow")), (405, ["POST"]))

    def test_unload_all_in_json(self) -> None:
        """The API's way to unload everything answers in JSON."""
        self.router.unloading.callback(None)
        self.assertEqual(self.ask("POST", "/api/models/unload"), (200, "application/json", '{"msg": "ok"}'))

    def unload(self, path: str) -> tuple[int, bytes]:
        """Unload one model; return status and body."""
        response = self.successResultOf(self.treq.post(f"{HOME}/api/models/unload/{path}"))
        return response.code, self.successResultOf(self.treq.content(response))

    def test_nothing_configured(self) -> None:
        """Without models, the list is empty."""
        self.router.config = evolve(self.router.config, models={})
        self.assertEqual(self.json("/v1/models"), {"object": "list", "data": []})

    def test_running(self) -> None:
        """What is not stopped is listed with its state, also where it is unlisted."""
        self.assertEqual(self.json("/running"), {"running": []})
        self.router.upstreams.alive = {"hidden": "starting", "b": "ready"}
        self.assertEqual(
            self.json("/running")["running"],
            [
                {
                    "model": "b",
                    "state": "ready",
                    "cmd": "serve b",
                    "proxy": "http://127.0.0.1:5800",
                    "ttl": 60,
                    "name": "Bee",
                    "description": "A bee.",
                },
                {
                    "model": "hidden",
                    "state": "starting",
                    "cmd": "serve hidden",
                    "proxy": "http://127.0.0.1:5800",
                    "ttl": 0,
                    "name": "",
                    "description": "",
                },
            ],
        )

    def test_command_can_be_pasted(self) -> None:
        """A command is quoted as a shell needs it."""
        self.router.upstreams.alive = {NASTY: "ready"}
        [model] = self.json("/running")["running"]
        self.assertEqual(model["cmd"], "serve 'a/b:<c> \"d\"&'\"'\"'e'\"'\"'?%#ü'")

    def test_methods(self) -> None:
        """What only tells takes no POST."""
        for path in ("/health", "/v1/models", "/running"):
            self.assertEqual(self.ask("POST", path)[0], 405, path)
        self.assertEqual(self.ask("DELETE", "/unload")[0], 405)
        self.assertEqual(self.router.unloads, 0)

    def test_head(self) -> None:
        """To look whether there is a page for it unloads nothing; what only tells may be looked at."""
        for path in ("/health", "/v1/models", "/running"):
            self.assertEqual(self.ask("HEAD", path)[0], 200, path)
        response = self.successResultOf(self.treq.request("HEAD", HOME + "/unload"))
        self.assertEqual((response.code, response.headers.getRawHeaders("Allow")), (405, ["GET, POST"]))
        self.assertEqual(self.router.unloads, 0)


class UnloadTests(SynchronousTestCase):
    """`/unload`."""

    def setUp(self) -> None:
        """Make the routes, and a client that may leave."""
        self.router = FakeRouter(Config(models=MODELS))
        self.client = Client(site_of(Front(app_with(AdminRoutes(self.router, CREATED).add_to))))

    def test_waits(self) -> None:
        """The answer comes when every model is gone."""
        for method in ("GET", "POST"):
            self.setUp()
            self.client.ask(method, "/unload")
            self.assertEqual((self.router.unloads, self.client.wire.take()), (1, b""))
            self.router.unloading.callback(None)
            answer = self.client.answer()
            self.assertEqual((answer.status, answer.body), (200, b"OK"))

    def test_client_leaves(self) -> None:
        """A client that does not wait for the end stops nothing, and leaves no trace in the log."""
        self.client.ask("GET", "/unload")
        self.client.leave()
        self.assertNoResult(self.router.unloading)
        self.router.unloading.callback(None)
        self.assertEqual(self.client.wire.take(), b"")
