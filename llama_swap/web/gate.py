"""The gate of the site: every request passes here first, however its path is spelled and wherever it leads."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from llama_swap.config.model import Config
from llama_swap.errors import SwapError
from llama_swap.web.auth import ApiKeys
from llama_swap.web.errors import refuse


class Gate(Resource):
    """Refuses who may not come in, and leaves all others to `inner`."""

    isLeaf = True

    def __init__(self, inner: IResource, config: Config) -> None:
        super().__init__()
        self._inner = inner
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Judge by `config` from now on."""
        self._keys = ApiKeys(config.api_keys) if config.api_keys else None

    def render(self, request: ServerRequest) -> Any:
        """See `IResource.render`."""
        try:
            if self._keys is not None:
                self._keys.check(request)
        except SwapError as error:
            refuse(request, error)
            return NOT_DONE_YET
        return self._inner.render(request)
