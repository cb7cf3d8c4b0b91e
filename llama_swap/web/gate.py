"""The gate of the site: every request passes here first, however its path is spelled and wherever it leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.config.model import Config
from llama_swap.errors import Forbidden, SwapError
from llama_swap.listening.address import is_loopback
from llama_swap.web.auth import ApiKeys
from llama_swap.web.browsers import BrowserRules, asks_what_is_allowed, is_preflight
from llama_swap.web.errors import refuse

if TYPE_CHECKING:
    from llama_swap.web.request import SwapRequest

MOST_NOTED = 100


class Gate(Resource):
    """Refuses who may not come in, and leaves all others to `inner`.

    A request is judged as soon as its head is there, so that no large body is taken of those who will be refused, and
    answered when it is complete.
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
        """Judge as is right for those who come to `address`."""
        self._is_loopback = is_loopback(address)
        self.follow(self._config)

    def judge(self, request: SwapRequest) -> SwapError | None:
        """Return why `request` is refused, if it is; else take from its head what is nobody's business behind here."""
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
            return error
        return None

    def render(self, request: SwapRequest) -> Any:
        """See `IResource.render`."""
        if request.refusal is not None:
            refuse(request, request.refusal)
        elif asks_what_is_allowed(request):
            self._browsers.answer_preflight(request)
        else:
            return self._inner.render(request)
        return NOT_DONE_YET

    def _note(self, error: SwapError | None) -> None:
        """Log what a browser does not show: why it was refused.  Once each, and not for ever."""
        if isinstance(error, Forbidden) and len(self._noted) < MOST_NOTED and str(error) not in self._noted:
            self._noted.add(str(error))
            self._log.warn("refused: {error}", error=error)
