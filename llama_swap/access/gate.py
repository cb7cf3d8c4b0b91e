"""The gate of the site: every request passes it first, however its path is spelled and wherever it leads."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.access.auth import ApiKeys
from llama_swap.access.browsers import BrowserRules, asks_what_is_allowed, is_preflight
from llama_swap.config.model import Config
from llama_swap.errors import Forbidden, SwapError
from llama_swap.listening.address import is_loopback
from llama_swap.server.errors import refuse
from llama_swap.server.request import SwapRequest

MOST_NOTED = 100


class Gate(Resource):
    """Refuses requests without permission, and passes all others to `inner`.

    A request is judged as soon as its head is there, so that no large body is read for a refusal; it is answered when
    it is complete.
    """

    isLeaf = True
    _log: ClassVar[Logger] = Logger()

    def __init__(self, inner: IResource, config: Config) -> None:
        super().__init__()
        self._inner = inner
        self._is_loopback = False
        self._noted: set[str] = set()
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Judge by `config` from now on."""
        self._config = config
        self._keys = ApiKeys(config.api_keys) if config.api_keys else None
        self._browsers = BrowserRules(
            config.allowed_origins, config.allowed_hosts, config.security.cors, is_loopback=self._is_loopback
        )

    def listens_at(self, address: IAddress) -> None:
        """Judge by the rules for clients that connect to `address`."""
        self._is_loopback = is_loopback(address)
        self.follow(self._config)

    def judge(self, request: SwapRequest) -> SwapError | None:
        """Return why `request` is refused; else None, with the API key taken out of its head."""
        try:
            fields = self._browsers.check(request)
            if fields:
                request.share(fields)
            elif request.method == b"OPTIONS":
                self._note(self._browsers.why_unanswered(request))
            if self._keys is not None and not is_preflight(request):
                self._keys.check(request)
        except SwapError as error:
            self._note(error)
            return error.with_traceback(None)  # which would hold the request, that holds the error
        return None

    def render(self, request: SwapRequest) -> Any:
        """See `IResource.render`."""
        if request.refusal is not None:
            refuse(request, request.refusal)
        elif request.method == b"OPTIONS" and asks_what_is_allowed(request):
            self._browsers.answer_preflight(request)
        else:
            return self._inner.render(request)
        return NOT_DONE_YET

    def _note(self, error: SwapError | None) -> None:
        """Log why a browser was refused, which it does not show: each reason once, up to a limit."""
        if isinstance(error, Forbidden) and len(self._noted) < MOST_NOTED and str(error) not in self._noted:
            self._noted.add(str(error))
            self._log.warn("refused: {error}", error=error)
