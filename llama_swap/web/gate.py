"""The gate of the site: every request passes here first, however its path is spelled and wherever it leads."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.config.model import Config
from llama_swap.errors import Forbidden, SwapError
from llama_swap.listen import is_loopback
from llama_swap.web.browsers import BrowserRules, answer_preflight, is_preflight
from llama_swap.web.errors import refuse
from llama_swap.web.site import SwapRequest

MOST_NOTED = 100


class Gate(Resource):
    """Refuses who may not come in, and leaves all others to `inner`."""

    isLeaf = True
    _log: ClassVar[Logger] = Logger()

    def __init__(self, inner: IResource, config: Config) -> None:
        super().__init__()
        self._inner = inner
        self._config = config
        self._is_loopback = False
        self._noted: set[str] = set()
        self._make_rules()

    def follow(self, config: Config) -> None:
        """Judge by `config` from now on."""
        self._config = config
        self._make_rules()

    def listens_at(self, address: IAddress) -> None:
        """Judge as is right for those who come to `address`."""
        self._is_loopback = is_loopback(address)
        self._make_rules()

    def _make_rules(self) -> None:
        config = self._config
        self._browsers = BrowserRules(config.allowed_origins, config.allowed_hosts, is_loopback=self._is_loopback)

    def render(self, request: SwapRequest) -> Any:
        """See `IResource.render`."""
        try:
            origin = self._browsers.check(request)
            if origin is not None:
                request.allow_origin(origin)
            if request.method == b"OPTIONS" and is_preflight(request):
                answer_preflight(request)
                return NOT_DONE_YET
            keys = request.channel.site.keys
            if keys is not None:
                keys.check(request)
        except SwapError as error:
            self._note(error)
            refuse(request, error)
            return NOT_DONE_YET
        return self._inner.render(request)

    def _note(self, error: SwapError) -> None:
        """Log what a browser does not show: why it was refused.  Once each, and not for ever."""
        if isinstance(error, Forbidden) and len(self._noted) < MOST_NOTED and str(error) not in self._noted:
            self._noted.add(str(error))
            self._log.warn("refused: {error}", error=error)
