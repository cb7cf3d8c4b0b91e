"""The router, while its configuration changes under it."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from llama_swap.config.model import Config, Group, Routing
from llama_swap.errors import NotFound, Unavailable
from llama_swap.routing.lease import Lease
from llama_swap.routing.upstreams import RETIREMENT
from llama_swap.scheduling.commands import Target
from tests.fakes import make_model
from tests.support_routing import RouterCase


class FollowTests(RouterCase):
    """`Router.follow`."""

    def change(self, model: str, **changes: Any) -> None:
        """Reconfigure with other settings for one model."""
        models = dict(self.router.config.models)
        models[model] = evolve(models[model], **changes)
        self.router.follow(evolve(self.router.config, models=models))

    def remove(self, model: str) -> None:
        """Reconfigure without a model."""
        models = {name: kept for name, kept in self.router.config.models.items() if name != model}
        self.router.follow(evolve(self.router.config, models=models, profiles={}))

    def test_same(self) -> None:
        """What is the same goes on: no process stops, no lease is disturbed, no request that waits is lost."""
        lease, waiting = self.load("a"), self.acquire("b")
        for _ in range(20):
            self.router.follow(evolve(self.router.config))
        self.assertEqual((self.child("a").asked, self.launcher.launched()), ([], ["a"]))
        lease.release()
        self.child("a").exit()
        self.make_ready("b")
        self.successResultOf(waiting).release()
        self.assert_at_rest()

    def test_same_while_loading(self) -> None:
        """A load goes on as well."""
        waiting = self.acquire("a")
        self.change("b", cmd=("other",))
        self.make_ready("a")
        self.successResultOf(waiting).release()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.assert_at_rest()

    def test_changed_and_idle(self) -> None:
        """A changed model that nobody uses is stopped at once, and started anew only when it is wanted."""
        self.load("a").release()
        self.change("a", cmd=("new",))
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.load("a").release()
        self.assertEqual(self.child("a").model.cmd, ("new",))
        self.assert_at_rest()

    def test_changed_and_in_use(self) -> None:
        """A changed model ends its answers; who comes later waits for the new one, and there are never two."""
        lease = self.load("a")
        self.change("a", cmd=("new",))
        waiting = self.acquire("a")
        self.assertEqual((self.child("a").asked, self.launcher.launched()), ([], ["a"]))
        lease.release()
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.assertEqual(self.launcher.launched(), ["a"])
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a", "a"])
        self.make_ready("a")
        new = self.successResultOf(waiting)
        self.assertEqual(new.model.cmd, ("new",))
        new.release()
        self.assert_at_rest()

    def test_deadline(self) -> None:
        """After `RETIREMENT` seconds the answers are cut; a second change in between gives no more time."""
        lease = self.load("a")
        self.change("a", cmd=("new",))
        self.clock.advance(RETIREMENT - 1)
        self.change("a", cmd=("newer",))
        self.assertEqual(self.child("a").asked, [])
        self.clock.advance(1)
        self.assertEqual(len(self.child("a").asked), 1)
        lease.release()
        self.child("a").exit()
        self.assert_at_rest()

    def test_told(self) -> None:
        """The log says why a model leaves: for another one, for want of use, or because it was reconfigured."""
        lines: list[str] = []

        def note(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.make_router(ttl=60)
        self.load("a").release()
        granted = self.acquire("b")
        self.child("a").exit()
        self.make_ready("b")
        self.successResultOf(granted).release()
        self.clock.advance(60)
        self.child("b").exit()
        lease = self.load("c")
        self.change("c", cmd=("other",))
        self.clock.advance(RETIREMENT)
        lease.release()
        for reason in (
            "swapping a for b",
            "b: not used for 60 s (ttl), unloading",
            "c: cutting answers of before its configuration changed",
        ):
            self.assertEqual(lines.count(reason), 1, lines)
        self.assertEqual([line for line in lines if "swapping" in line], ["swapping a for b"])

    def test_deadline_of_what_leaves(self) -> None:
        """Whatever ends a process before its deadline ends that as well: then, nothing is cut any more."""
        for end in (lambda: self.router.unload(["a"]), lambda: self.child("a").end(1)):
            lease = self.load("a")
            self.change("a", cmd=("newer", *self.router.config.models["a"].cmd))
            end()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            lease.release()
            self.child("a").exit()
        self.assert_at_rest()

    def test_changed_back(self) -> None:
        """A change that is taken back before it came to anything leaves the process where it is."""
        lease = self.load("a")
        before = self.router.config
        self.change("a", cmd=("new",))
        self.router.follow(before)
        lease.release()
        self.assertEqual((self.child("a").asked, self.router.upstreams.states()), ([], {"a": "ready"}))
        self.assert_at_rest()

    def test_changed_while_loading(self) -> None:
        """A load of what is no longer wanted is ended; who waits for it gets the new one."""
        waiting = self.acquire("a")
        self.change("a", cmd=("new",))
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.child("a").exit()
        self.make_ready("a")
        self.assertEqual(self.successResultOf(waiting).model.cmd, ("new",))

    def test_changed_before_its_load(self) -> None:
        """A model that changes while it waits for the end of another is started as it is by then."""
        self.load("a").release()
        waiting = self.acquire("b")
        self.change("b", cmd=("new",))
        self.child("a").exit()
        self.make_ready("b")
        self.assertEqual(self.successResultOf(waiting).model.cmd, ("new",))

    def test_changed_address_clearing(self) -> None:
        """A model that changes while its address is being cleared starts with its new one."""
        self.readiness.occupied = True
        waiting = self.acquire("a")
        self.change("a", cmd=("new",))
        self.assertEqual(self.launcher.launched(), [])
        self.readiness.clearing["a"].callback(None)
        self.make_ready("a")
        self.assertEqual(self.successResultOf(waiting).model.cmd, ("new",))
        self.assertEqual(self.launcher.launched(), ["a"])

    def wanted_at_the_address_of_a_leaving_process(self) -> tuple[Lease, Deferred[Lease]]:
        """Give `b` the address at which `a` still answers; return the lease on `a`, and what waits for `b`."""
        routing = Routing(groups={"g": Group(members=("a", "b", "c"), swap=False)})
        self.router.follow(evolve(self.router.config, routing=routing))
        lease = self.load("a")
        self.change("a", proxy="http://127.0.0.1:9100")
        self.change("b", proxy=lease.model.proxy)
        waiting = self.acquire("b")
        return lease, waiting

    def test_address_of_a_leaving_process(self) -> None:
        """A model that has another one's address by now waits for the end of that one's process."""
        lease, waiting = self.wanted_at_the_address_of_a_leaving_process()
        self.clock.advance(RETIREMENT - 1)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready", "b": "starting"})
        lease.release()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.child("a").exit()
        self.make_ready("b")
        self.successResultOf(waiting).release()
        self.assert_at_rest()

    def test_address_of_a_process_that_stays(self) -> None:
        """What does not leave is not waited for, which could take for ever."""
        lease = self.load("a")
        address = lease.model.address
        self.assertIsNone(self.router.upstreams.leaving(address))
        lease.release()
        self.router.unload(["a"])
        self.assertIs(self.router.upstreams.leaving(address), self.router.upstreams["a"])

    def test_gives_up_an_address(self) -> None:
        """Nor does it come later, if nobody wants it any more by then."""
        lease, waiting = self.wanted_at_the_address_of_a_leaving_process()
        self.successResultOf(self.router.unload(["b"]))
        self.assert_failed([waiting], Unavailable)
        lease.release()
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.assert_at_rest()

    def test_live(self) -> None:
        """What does not concern the process holds at once: here the limit, and the `ttl` of an idle model."""
        self.load("a").release()
        self.change("a", ttl=5, concurrency_limit=1)
        lease, too_many = self.acquire("a"), self.acquire("a")
        self.failureResultOf(too_many)
        self.successResultOf(lease).release()
        self.clock.advance(5)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.child("a").exit()
        self.assert_at_rest()

    def test_removed(self) -> None:
        """A removed model ends its answers and is gone; who waits for it is told."""
        lease, other = self.load("a"), self.acquire("b")
        self.change("a", cmd=("new",))
        waiting = self.acquire("a")
        self.remove("a")
        self.assert_failed([waiting], NotFound)
        self.assertIsNone(self.router.names.find("a"))
        self.assert_failed([self.router.acquire(Target("a"))], NotFound)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        lease.release()
        self.child("a").exit()
        self.make_ready("b")
        self.successResultOf(other).release()
        self.assertEqual(self.router.upstreams.states(), {"b": "ready"})
        self.assert_at_rest()

    def test_removed_and_cut(self) -> None:
        """The lease on a model that was removed and cut may be released after everything else is over."""
        lease = self.load("a")
        self.remove("a")
        self.clock.advance(RETIREMENT)
        self.child("a").exit()
        lease.release()
        self.assert_at_rest()

    def test_removed_before_its_load(self) -> None:
        """A model that is removed while it waits for the end of another is not started."""
        self.load("a").release()
        self.acquire("b").addErrback(lambda _: None)
        self.remove("b")
        self.child("a").exit()
        self.assertEqual((self.launcher.launched(), self.router.upstreams.states()), (["a"], {}))
        self.assert_at_rest()

    def test_removed_and_back(self) -> None:
        """A model that comes back while its process still ends answers goes on."""
        lease = self.load("a")
        before = self.router.config
        self.remove("a")
        self.router.follow(before)
        self.successResultOf(self.acquire("a")).release()
        lease.release()
        self.assertEqual((self.child("a").asked, self.launcher.launched()), ([], ["a"]))
        self.assert_at_rest()

    def test_removed_profile(self) -> None:
        """Who waits for a member of a profile that is gone is told; who waits for the model itself is not disturbed."""
        lease, through, plain = self.load("c"), self.acquire("a", "p"), self.acquire("a")
        self.router.follow(evolve(self.router.config, profiles={}))
        self.assert_failed([through], NotFound)
        lease.release()
        self.child("c").exit()
        self.make_ready("a")
        self.successResultOf(plain).release()
        self.assert_at_rest()

    def test_added(self) -> None:
        """A new model can be asked for."""
        models = {**self.router.config.models, "new": make_model("new", 9999)}
        difference = self.router.follow(evolve(self.router.config, models=models))
        self.assertEqual(str(difference), "new: new")
        self.load("new").release()
        self.assert_at_rest()

    def test_backoff_forgets(self) -> None:
        """A changed model does not pay for the failures of what it was."""
        for _ in range(2):
            self.acquire("a").addErrback(lambda _: None)
            self.child("a").exit(1)
        self.failureResultOf(self.acquire("a"))
        self.change("a", cmd=("new",))
        self.load("a").release()
        self.flushLoggedErrors()

    def test_close_while_retiring(self) -> None:
        """The end of the proxy waits for the answers of a retiring model as for others, and leaves no timer."""
        lease = self.load("a")
        self.change("a", cmd=("new",))
        quiet = self.router.close()
        self.assertNoResult(quiet)
        lease.release()
        self.successResultOf(quiet)
        gone = self.router.unload_all()
        self.child("a").exit()
        self.successResultOf(gone)
        self.assert_at_rest()

    def test_unload_while_retiring(self) -> None:
        """To unload everything ends a removed model too."""
        lease = self.load("a")
        self.remove("a")
        gone = self.router.unload_all()
        self.child("a").exit()
        self.successResultOf(gone)
        lease.release()
        self.assert_at_rest()

    def test_ports(self) -> None:
        """The ports that are taken are those of the configured models, and of those that still run."""
        models = {name: evolve(make_model(name), port=port) for name, port in (("x", 5800), ("y", 5801))}
        self.router.follow(Config(models=models))
        self.load("x")
        self.assertEqual(self.router.upstreams.ports(), {"x": 5800, "y": 5801})
        self.router.follow(Config(models={}))
        self.assertEqual(self.router.upstreams.ports(), {"x": 5800})
