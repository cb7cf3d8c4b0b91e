"""Where requests go, and the connections that are kept to it."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, Timeouts
from llama_swap.web.forwarding import Forwarder
from tests.fakes_web import Endpoints, FakeRouter, models, unwatched


class DestinationTests(SynchronousTestCase):
    """`Forwarder.destination`."""

    def test_change(self) -> None:
        """Connections are kept until a reload changes where they go, or how they are to be made."""
        endpoints, config = Endpoints(), Config(models=models("a"))
        forwarder = Forwarder(FakeRouter(config), endpoints, unwatched())
        model = config.models["a"]
        timeouts = Timeouts(connect=5, keepalive=7)
        for changed in (
            model,
            evolve(model, ttl=5),
            evolve(model, timeouts=timeouts),
            evolve(model, timeouts=evolve(timeouts, response_header=9)),
            evolve(model, timeouts=evolve(timeouts, keepalive=8)),
            evolve(model, timeouts=evolve(timeouts, keepalive=8), proxy="http://gpu:1"),
        ):
            destination = forwarder.destination(changed)
            self.assertIs(forwarder.destination(changed), destination)
        self.assertEqual(endpoints.urls, [model.proxy] * 3 + ["http://gpu:1"])
        self.assertEqual((endpoints.timeouts, endpoints.keepalives), ([30, 5, 5, 5], [30, 7, 8, 8]))
