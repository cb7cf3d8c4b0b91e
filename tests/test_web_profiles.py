"""The active profile, over HTTP; and what selectors and pins make of the list of models."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, PinProfile, Selector
from llama_swap.web.admin import AdminRoutes
from llama_swap.web.front import Front
from llama_swap.web.profiles import ProfileRoutes
from tests.fakes_web import FakeRouter, app_with, models, site_of
from tests.fakes_wire import Client


class ProfileTests(SynchronousTestCase):
    """`/api/profiles` and `/api/profiles/active`."""

    def setUp(self) -> None:
        config = Config(
            models=models("a", "b"),
            selectors={
                "fast": Selector(strategy="warm", targets=("a",), name="Fast"),
                "hidden": Selector(strategy="warm", targets=("a",), unlisted=True),
            },
            pin_profiles={"p": PinProfile(description="D", pins={"gpt": "a", "b": None}), "empty": PinProfile()},
        )
        router: Any = FakeRouter(config)
        app = app_with(ProfileRoutes(router).add_to, AdminRoutes(router, 1).add_to)
        self.client = Client(site_of(Front(app)))

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Return status and value of an answer."""
        self.client.ask(method, path, body)
        answer = self.client.answer(method)
        return answer.status, json.loads(answer.body)

    def activate(self, name: str | None) -> tuple[int, Any]:
        """Make a profile the active one."""
        return self.request("PUT", "/api/profiles/active", json.dumps({"name": name}).encode())

    def listed(self) -> dict[str, str]:
        """Return what kind of thing each listed name is."""
        _, found = self.request("GET", "/v1/models")
        return {entry["id"]: entry["meta"]["llamaswap"]["type"] for entry in found["data"]}

    def test_list(self) -> None:
        """All profiles with pins, which are text for all who expect that, and which is active: at first none."""
        profiles = [
            {"id": "empty", "description": "", "pins": {}},
            {"id": "p", "description": "D", "pins": {"gpt": "a", "b": ""}},
        ]
        self.assertEqual(self.request("GET", "/api/profiles"), (200, {"active": None, "profiles": profiles}))

    def test_activate(self) -> None:
        """One is active at a time, or none."""
        self.assertEqual(self.activate("p"), (200, {"active": "p"}))
        self.assertEqual(self.request("GET", "/api/profiles")[1]["active"], "p")
        self.assertEqual(self.activate("empty"), (200, {"active": "empty"}))
        self.assertEqual(self.activate(None), (200, {"active": None}))

    def test_unknown(self) -> None:
        """A profile that does not exist changes nothing."""
        self.activate("p")
        self.assertEqual(self.activate("q")[0], 404)
        self.assertEqual(self.request("GET", "/api/profiles")[1]["active"], "p")

    def test_bad_bodies(self) -> None:
        """What says no name is refused."""
        for body in (b"", b"{}", b"[]", b'{"name": 1}', b'{"name": ', b"\xff", b"p"):
            self.assertEqual(self.request("PUT", "/api/profiles/active", body)[0], 400, body)

    def test_other_methods(self) -> None:
        """Elsewhere there is nothing to set."""
        self.assertEqual(self.request("POST", "/api/profiles/active")[0], 405)

    def test_models(self) -> None:
        """Selectors are listed, and the names of the active profile; what it refuses is not."""
        self.assertEqual(self.listed(), {"a": "model", "b": "model", "fast": "selector"})
        self.activate("p")
        self.assertEqual(self.listed(), {"a": "model", "fast": "selector", "gpt": "profile"})
