"""What `/api/events` tells of the models: their states, since when they are ready, and why they failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from llama_swap.config.model import ModelConfig
from llama_swap.metrics.rfc3339 import text_of
from llama_swap.routing.peers import PeerModel, Peers
from llama_swap.routing.router import Router
from llama_swap.routing.upstream import Mishap
from llama_swap.web.listing import abilities


class Statuses:
    """The models and those of the peers, as JSON.

    Each page gets all of them, whenever one changes.  Of thousands, most are stopped, and encoded once.
    """

    def __init__(self, router: Router, clock: IReactorTime, epoch: Callable[[], float]) -> None:
        self._router = router
        self._clock = clock
        self._epoch = epoch
        self._made_of: tuple[object, ...] = (None, None, None)
        self._stopped: dict[str, str] = {}
        """Each model as it is told while it is stopped, and has not failed; sorted by id."""
        self._at_peers: list[str] = []

    def as_json(self) -> str:
        """Return the list."""
        self._keep_up()
        config, upstreams = self._router.config, self._router.upstreams
        states, ready, mishaps = upstreams.states(), upstreams.ready_since(), upstreams.mishaps()
        now, epoch = self._clock.seconds(), self._epoch()
        others = {
            id_: json.dumps(
                _of_own(model, states.get(id_, "stopped"))
                | _readiness(ready.get(id_), now, epoch)
                | _failure(mishaps.get(id_), epoch)
            )
            for id_ in (*states, *mishaps)
            if (model := config.models.get(id_)) is not None
        }
        return f"[{', '.join([*(self._stopped | others).values(), *self._at_peers])}]"

    def _keep_up(self) -> None:
        """Encode anew if what does not depend on states has changed: it is replaced, not changed, when it does."""
        config, peers = self._router.config, self._router.peers
        made_of = config, peers.configured, peers.seen
        if any(then is not now for then, now in zip(self._made_of, made_of, strict=True)):
            self._stopped = {id_: json.dumps(_of_own(model, "stopped")) for id_, model in sorted(config.models.items())}
            self._at_peers = [json.dumps(_of_peer(model, peers)) for model in peers.models()]
            self._made_of = made_of


def _of_own(model: ModelConfig, state: str) -> dict[str, Any]:
    told = abilities(model.capabilities)
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description,
        "state": state,
        "unlisted": model.unlisted,
        "peerID": "",
        "aliases": list(model.aliases),
        **{key: told[key] for key in ("capabilities", "context_length") if key in told},
    }


def _readiness(since: float | None, now: float, epoch: float) -> dict[str, Any]:
    """Say since when a model is ready, and for how many milliseconds: the browser's clock may be wrong."""
    if since is None:
        return {}
    return {"readySince": text_of(epoch + since), "uptimeMs": round((now - since) * 1000)}


def _failure(mishap: Mishap | None, epoch: float) -> dict[str, Any]:
    """Say when and why a model has failed; nothing once it was started again."""
    return {} if mishap is None else {"failure": {"at": text_of(epoch + mishap.at), "message": mishap.why}}


def _of_peer(model: PeerModel, peers: Peers) -> dict[str, Any]:
    """Return what is known of a peer's model, by its name in `/v1/models`.

    Whether it is loaded is not known here.
    """
    return {
        "id": str(model),
        "name": "",
        "description": "",
        "state": "unknown" if peers.answers(model.peer) else "stopped",
        "unlisted": False,
        "peerID": model.peer,
        "aliases": [],
    }
