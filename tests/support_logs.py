"""The log routes alone, as a site: in memory, or on a port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.server import Site

from llama_swap.errors import SwapError
from llama_swap.web.routes import Routes
from llama_swap.web.streams import LogRoutes


def log_app(routes: LogRoutes, *more: Callable[[Klein], None]) -> Klein:
    """Return an app with the log routes, and more, which shows errors as text."""
    app = Routes()
    routes.add_to(app)
    for add_to in more:
        add_to(app)

    def show(request: Request, failure: Failure) -> str:
        request.setResponseCode(failure.value.status)
        return str(failure.value)

    app.handle_errors(SwapError)(show)
    return app


class LogSite:
    """The log routes on a free port of 127.0.0.1."""

    def __init__(self, reactor: Any, routes: LogRoutes, *more: Callable[[Klein], None]) -> None:
        self._reactor = reactor
        self._factory = WrappingFactory(Site(log_app(routes, *more).resource()))
        self._port = reactor.listenTCP(0, self._factory, interface="127.0.0.1")
        self.port: int = self._port.getHost().port
        self.url = f"http://127.0.0.1:{self.port}/logs"

    def cut(self) -> None:
        """Cut every connection."""
        for connection in tuple(self._factory.protocols):
            connection.transport.abortConnection()

    async def close(self) -> None:
        """Stop listening, and see every connection gone."""
        await self._port.stopListening()
        while self._factory.protocols:
            self.cut()
            await self.turn()

    def turn(self) -> Deferred[None]:
        """Let the reactor do what is at hand."""
        done: Deferred[None] = Deferred()
        self._reactor.callLater(0, done.callback, None)
        return done
