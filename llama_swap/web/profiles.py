"""The routes of the profiles, which give names another meaning: listing them, and activating one."""

from __future__ import annotations

import json
from typing import Any

from klein import Klein
from twisted.web.http import Request

from llama_swap.errors import BadRequest
from llama_swap.routing.router import Router
from llama_swap.server.answers import json_answer
from llama_swap.server.request import SwapRequest, body_of


class ProfileRoutes:
    """Reads and sets the active profile."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/api/profiles", methods=["GET"])(self.profiles)
        app.route("/api/profiles/active", methods=["PUT"])(self.activate)

    def profiles(self, request: Request) -> bytes:
        """List the profiles, and say which is active; a name that a profile refuses is pinned to the empty string."""
        listed = [
            {
                "id": name,
                "description": profile.description,
                "pins": {pin: target or "" for pin, target in profile.pins.items()},
            }
            for name, profile in sorted(self._router.config.pin_profiles.items())
        ]
        return json_answer(request, {"active": self._router.names.active, "profiles": listed})

    def activate(self, request: SwapRequest) -> bytes:
        """Activate the profile that the body names, or none."""
        body = body_of(request)
        try:
            wanted: Any = json.loads(body if isinstance(body, bytes) else b"")
        except (ValueError, RecursionError) as error:  # ValueError: also for what is not UTF-8
            raise BadRequest(f"invalid JSON: {error}") from None
        name = wanted.get("name", 0) if isinstance(wanted, dict) else 0
        if name is not None and not isinstance(name, str):
            raise BadRequest('the body must be {"name": PROFILE}, or {"name": null} for none')
        self._router.activate(name)
        return json_answer(request, {"active": self._router.names.active})
