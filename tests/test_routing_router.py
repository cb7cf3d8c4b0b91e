"""The router: leases, and what processes and clients can do to them."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred

from llama_swap.errors import (
    Conflict,
    NobodyListens,
    NotFound,
    NotReadyInTime,
    StartFailed,
    TooManyRequests,
    Unavailable,
)
from llama_swap.routing.lease import Lease
from llama_swap.routing.upstream import CRASH_SHOWS, Mishap
from llama_swap.scheduling.commands import Target
from tests.fakes import FakeChild
from tests.support_routing import GRACE, RouterCase

UNHEARD = NobodyListens("cannot connect")


class LeaseTests(RouterCase):
    """The right to send one request."""

    def test_cold(self) -> None:
        """The first request starts its model, and has its lease when that is ready."""
        granted = self.acquire("a")
        self.assertNoResult(granted)
        self.assertEqual(self.router.upstreams.states(), {"a": "starting"})
        self.make_ready("a")
        lease = self.successResultOf(granted)
        self.assertEqual((lease.model.id, self.router.upstreams.states()), ("a", {"a": "ready"}))
        lease.release()
        self.assert_at_rest()

    def test_warm(self) -> None:
        """A model that is ready is leased at once, any number of times."""
        leases = [self.load("a") for _ in range(3)]
        self.assertEqual(self.launcher.launched(), ["a"])
        for lease in leases:
            lease.release()
        self.assert_at_rest()

    def test_nothing_to_wait_for(self) -> None:
        """A ready model with room gives leases at once; a cold or busy one, or one that others wait for, none."""
        self.make_router(concurrency_limit=2)
        self.assertIsNone(self.router.acquire_now(Target("a")))
        self.assertEqual(self.launcher.launched(), [])
        self.load("a").release()
        first, second = self.router.acquire_now(Target("a")), self.router.acquire_now(Target("a"))
        assert first is not None
        assert second is not None
        self.assertIsNone(self.router.acquire_now(Target("a")))
        second.release()
        waiting = self.acquire("b")
        self.assertIsNone(self.router.acquire_now(Target("a", "p")))
        self.assertIsNone(self.router.acquire_now(Target("a")))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        first.release()
        self.assertIsNotNone(self.router.acquire_now(Target("a")))

    def test_one_start_for_many(self) -> None:
        """Requests that come together cause one start, and are granted together."""
        granted = [self.acquire("a") for _ in range(10)]
        self.make_ready("a")
        for each in granted:
            self.successResultOf(each)
        self.assertEqual(self.launcher.launched(), ["a"])

    def test_released_once(self) -> None:
        """To release a lease again releases nobody else's."""
        first, second = self.load("a"), self.load("a")
        first.release()
        first.release()
        waiting = self.acquire("b")
        self.assertNoResult(waiting)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        second.release()
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})

    def test_limit(self) -> None:
        """One more than `concurrencyLimit` is refused at once; a released lease makes room."""
        self.make_router(concurrency_limit=2)
        lease, _ = self.load("a"), self.load("a")
        self.failureResultOf(self.acquire("a"), TooManyRequests)
        lease.release()
        self.successResultOf(self.acquire("a"))

    def test_swap(self) -> None:
        """A model is stopped when its last lease is released, and the next is launched when it is gone."""
        lease = self.load("a")
        granted = self.acquire("b")
        self.assertEqual(self.child("a").asked, [])
        lease.release()
        self.assertEqual(self.child("a").asked, [GRACE])
        self.assertEqual(self.launcher.launched(), ["a"])
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a", "b"])
        self.make_ready("b")
        self.assertEqual(self.successResultOf(granted).model.id, "b")

    def test_states(self) -> None:
        """The state of a model is told from its start to its end."""
        self.assertEqual(self.router.upstreams.states(), {})
        granted = self.acquire("a")
        self.assertEqual(self.router.upstreams.states(), {"a": "starting"})
        self.make_ready("a")
        self.successResultOf(granted).release()
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        self.router.unload(["a"])
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.child("a").exit()
        self.assert_at_rest()

    def test_if_cold(self) -> None:
        """Who may start nothing has a lease only on a model that is up; why it has none is always the same."""
        modest = Target("a", if_cold="it is not there")
        for _ in range(2):
            self.failureResultOf(self.router.acquire(modest), Conflict)
            granted = self.acquire("a")
            waiting = self.router.acquire(modest)
            self.readiness.probing["a"].errback(StartFailed("no"))
            self.assert_failed([granted, waiting], StartFailed)
            self.child("a").exit()
        self.failureResultOf(self.acquire("a"), Unavailable)
        self.failureResultOf(self.router.acquire(modest), Conflict)
        self.clock.advance(60)
        lease, other = self.load("a"), self.successResultOf(self.router.acquire(modest))
        for each in (lease, other):
            each.release()
        self.acquire("b")
        self.failureResultOf(self.router.acquire(modest), Conflict)
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a"] * 3 + ["b"])

    def test_profile(self) -> None:
        """Through a profile both members start; the lease waits only for its own."""
        granted = self.acquire("b", "p")
        self.assertEqual(self.launcher.launched(), ["b", "a"])
        self.make_ready("b")
        self.successResultOf(granted)
        self.assertEqual(self.router.upstreams.states(), {"a": "starting", "b": "ready"})


class ReadAheadTests(RouterCase):
    """What can be done for a model whose place is still taken."""

    def swap(self) -> list[str]:
        """Swap a for b; return whose files were read before a was gone."""
        self.load("a").release()
        waiting = self.acquire("b")
        read = self.read_ahead.copy()
        self.child("a").exit()
        self.make_ready("b")
        self.successResultOf(waiting)
        return read

    def test_while_the_other_stops(self) -> None:
        """The successor's files are read while the old model stops; nothing is read for a model that can start."""
        self.assertEqual(self.swap(), ["b"])
        self.assertEqual(self.read_ahead, ["b"])

    def test_not_wanted(self) -> None:
        """`readAhead: false`."""
        self.router.config = evolve(self.router.config, read_ahead=False)
        self.assertEqual(self.swap(), [])


class LeavingTests(RouterCase):
    """Clients that leave."""

    def test_while_queued(self) -> None:
        """A queued request whose client left starts nothing."""
        lease = self.load("a")
        granted = self.acquire("b")
        granted.cancel()
        self.failureResultOf(granted, CancelledError)
        lease.release()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        self.assert_at_rest()

    def test_while_loading(self) -> None:
        """A load that nobody waits for any more completes, and the model then serves."""
        granted = self.acquire("a")
        granted.cancel()
        self.failureResultOf(granted, CancelledError)
        self.make_ready("a")
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        self.assert_at_rest()
        self.load("a")

    def test_at_the_moment_of_the_grant(self) -> None:
        """A client that leaves while others are being granted leaves no trace in what is in flight."""
        first, second = self.acquire("a"), self.acquire("a")
        first.addCallback(lambda lease: (second.cancel(), lease.release()))
        second.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self.make_ready("a")
        self.assert_at_rest()
        self.acquire("b")
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})

    def test_at_the_moment_of_an_error(self) -> None:
        """The same when they are being refused."""
        first, second = self.acquire("a"), self.acquire("a")
        first.addErrback(lambda _: second.cancel())
        self.child("a").exit(1)
        self.failureResultOf(second, CancelledError)
        self.assert_at_rest()

    def test_after_the_grant(self) -> None:
        """To cancel what was granted changes nothing; the lease is to be released."""
        granted = self.acquire("a")
        self.make_ready("a")
        granted.cancel()
        self.successResultOf(granted).release()
        self.assert_at_rest()


class CrashTests(RouterCase):
    """Models that end by themselves."""

    def test_what_it_left_behind(self) -> None:
        """Nobody is sent to a model that has ended; who asks for it, or for another, waits until all of it is gone."""
        self.load("a").release()
        self.child("a").end(1)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        granted, other = self.acquire("a"), self.acquire("b")
        self.assertEqual(self.launcher.launched(), ["a"])
        self.child("a").be_gone()
        self.assertEqual(self.launcher.launched(), ["a", "a"])
        self.make_ready("a")
        self.successResultOf(granted).release()
        self.assertNoResult(other)

    def test_with_answers(self) -> None:
        """Answers that broke with the model are released before or after it is gone."""
        for early in (True, False):
            lease = self.load("a")
            self.child("a").end(1)
            if early:
                lease.release()
            self.child("a").be_gone()
            lease.release()
            self.assert_at_rest()

    def test_request_that_nobody_heard(self) -> None:
        """It is served by the next process, whether the crash shows before it asks again or after."""
        for shows_first in (True, False):
            lease = self.load("a")
            if shows_first:
                self.child("a").end(1)
            lease.release()
            again = self.router.acquire_again(lease, Target("a"), UNHEARD)
            if not shows_first:
                self.assertNoResult(again)
                self.child("a").end(1)
            self.child("a").be_gone()
            self.make_ready("a")
            self.successResultOf(again).release()
            self.assert_at_rest()

    def test_nobody_heard_though_it_lives(self) -> None:
        """If no crash shows it is an error, as it is when the model was stopped; nobody starts it for that."""
        lease = self.load("a")
        lease.release()
        again = self.router.acquire_again(lease, Target("a"), UNHEARD)
        self.clock.advance(CRASH_SHOWS)
        self.assertIs(self.failureResultOf(again).value, UNHEARD)
        self.router.unload(["a"])
        self.assertIs(self.failureResultOf(self.router.acquire_again(lease, Target("a"), UNHEARD)).value, UNHEARD)
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.assert_at_rest()

    def test_nobody_heard_and_removed(self) -> None:
        """If the model has left the configuration meanwhile, that is the error."""
        lease = self.load("a")
        lease.release()
        config = self.router.config
        models = {name: model for name, model in config.models.items() if name != "a"}
        self.router.follow(evolve(config, models=models, profiles={}))
        self.child("a").exit()
        again = self.router.acquire_again(lease, Target("a"), UNHEARD)
        self.assertIn("taken out of the configuration", str(self.failureResultOf(again, NotFound).value))
        self.assert_at_rest()

    def test_client_leaves_before_it_is_known(self) -> None:
        """A client that leaves while a crash is waited for leaves no trace."""
        lease = self.load("a")
        lease.release()
        again = self.router.acquire_again(lease, Target("a"), UNHEARD)
        again.cancel()
        self.failureResultOf(again, CancelledError)
        self.child("a").exit(1)
        self.assertEqual(self.launcher.launched(), ["a"])
        self.assert_at_rest()

    def test_unloaded_meanwhile(self) -> None:
        """To unload it waits for its end."""
        self.load("a").release()
        self.child("a").end(1)
        unloaded = self.router.unload(["a"])
        self.assertNoResult(unloaded)
        self.child("a").be_gone()
        self.successResultOf(unloaded)


class ErrorTests(RouterCase):
    """Models that do not come up, or do not stay."""

    def tearDown(self) -> None:
        self.assert_at_rest()

    def test_dies_young(self) -> None:
        """Every waiter is told; the next request starts the model anew."""
        granted = [self.acquire("a") for _ in range(3)]
        self.child("a").exit(1)
        self.assert_failed(granted, StartFailed)
        self.assertEqual(self.router.upstreams.states(), {})
        self.load("a").release()

    def test_not_ready_in_time(self) -> None:
        """Every waiter is told at once, while the process still leaves; a new request waits for that."""
        granted = [self.acquire("a") for _ in range(3)]
        self.readiness.probing["a"].errback(NotReadyInTime("late"))
        self.assert_failed(granted, NotReadyInTime)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        again = self.acquire("a")
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a", "a"])
        self.make_ready("a")
        self.successResultOf(again).release()

    def fail_twice(self) -> None:
        """Let `a` die twice before it was ready."""
        for _ in range(2):
            granted = self.acquire("a")
            self.child("a").exit(1)
            self.assert_failed([granted], StartFailed)

    def test_keeps_dying(self) -> None:
        """After two failures it is refused at once, with the reason, and no other model leaves for it, until later."""
        self.fail_twice()
        self.load("b").release()
        [refusal] = [self.failureResultOf(self.acquire("a"), Unavailable).value]
        self.assertEqual(refusal.retry_after, 1)
        self.assertIn("not started again so soon after 2 failures", str(refusal))
        self.assertEqual(self.router.upstreams.states(), {"b": "ready"})
        self.clock.advance(1)
        granted = self.acquire("a")
        self.child("b").exit()
        self.make_ready("a")
        self.successResultOf(granted).release()

    def test_keeps_dying_beside_another(self) -> None:
        """In a profile it is left out meanwhile; who asks for another member has that."""
        self.fail_twice()
        granted = self.acquire("b", "p")
        self.make_ready("b")
        self.successResultOf(granted).release()
        self.assertEqual(self.router.upstreams.states(), {"b": "ready"})
        self.assertEqual(self.launcher.launched(), ["a", "a", "b"])

    def test_stopped_by_us(self) -> None:
        """To unload it wipes the slate clean: the next request starts it at once."""
        self.fail_twice()
        self.successResultOf(self.router.unload(["a"]))
        self.load("a").release()

    def test_ready_since(self) -> None:
        """It is known since when a model is ready, for as long as it is."""
        self.clock.advance(5)
        self.load("a").release()
        self.clock.advance(1)
        self.assertEqual(self.router.upstreams.ready_since(), {"a": 5.0})
        self.router.unload(["a"])
        self.assertEqual(self.router.upstreams.ready_since(), {})
        self.child("a").exit()

    def test_mishaps(self) -> None:
        """Why a model failed to start, or ended by itself, is known until it is started again, and since when."""
        self.clock.advance(5)
        granted = self.acquire("a")
        self.child("a").exit(3)
        self.failureResultOf(granted, StartFailed)
        told = "model a ended with exit status 3 before it was ready; it printed nothing"
        self.assertEqual(self.router.upstreams.mishaps(), {"a": Mishap(told, 5.0)})
        self.clock.advance(1)
        again = self.acquire("a")
        self.assertEqual(self.router.upstreams.mishaps(), {})
        self.make_ready("a")
        self.successResultOf(again).release()
        self.child("a").exit(4)
        crash = Mishap("model a ended by itself with exit status 4", 6.0)
        self.assertEqual(self.router.upstreams.mishaps(), {"a": crash})
        self.load("a").release()
        self.router.unload(["a"])
        self.child("a").exit()
        self.assertEqual(self.router.upstreams.mishaps(), {})

    def test_cannot_be_launched(self) -> None:
        """The error comes at once, and does not concern other models."""
        self.launcher.refusals["a"] = StartFailed("no such program")
        self.failureResultOf(self.acquire("a"), StartFailed)
        self.load("b").release()

    def test_launcher_raises(self) -> None:
        """An error that nobody foresaw is logged, and told to the waiters: nobody waits for ever."""
        self.launcher.refusals["a"] = ZeroDivisionError("oh")
        self.failureResultOf(self.acquire("a"), StartFailed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.load("b").release()

    def test_member_cannot_be_launched(self) -> None:
        """A member of a profile that cannot start is no harm to the request for another."""
        self.launcher.refusals["a"] = StartFailed("no such program")
        granted = self.acquire("b", "p")
        self.make_ready("b")
        self.successResultOf(granted).release()

    def test_one_command_raises(self) -> None:
        """A command that cannot be carried out is logged, and does not keep the others from it."""

        def stop(child: FakeChild, grace: float) -> None:
            raise ZeroDivisionError(child.model.id)

        self.acquire("a", "p").addCallback(Lease.release)
        self.make_ready("a")
        self.make_ready("b")
        self.patch(FakeChild, "stop", stop)
        granted = self.acquire("c")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping", "b": "stopping"})
        self.child("a").exit()
        self.child("b").exit()
        self.make_ready("c")
        self.successResultOf(granted).release()

    def test_unloaded_before_its_launch_failed(self) -> None:
        """A model may be unloaded, and fail to start, while the start is only about to be carried out."""
        self.launcher.refusals["a"] = StartFailed("no such program")
        self.acquire("b").addCallback(lambda lease: (self.router.unload(["a"]), lease.release()))
        granted = self.acquire("b", "p")  # served right after, and a started only then
        self.make_ready("b")
        self.successResultOf(granted).release()
        self.assertEqual(self.router.upstreams.states(), {"b": "ready"})

    def test_crash(self) -> None:
        """A model that ends while it serves is started anew for the next request; the old lease is no hindrance."""
        cut = self.load("a")
        self.child("a").exit(1)
        self.assertEqual(self.router.upstreams.states(), {})
        lease = self.load("a")
        cut.release()
        lease.release()
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})

    def test_waiter_reacts(self) -> None:
        """Who is told an error may ask again at once: that is one new start, after the failed process."""
        again: list[Deferred[Lease]] = []
        for _ in range(2):
            self.acquire("a").addErrback(lambda _: again.append(self.acquire("a")))
        self.child("a").exit(1)
        self.assertEqual(self.launcher.launched(), ["a", "a"])
        self.make_ready("a")
        for granted in again:
            self.successResultOf(granted).release()


class FairnessTests(RouterCase):
    """Steady traffic to one model cannot starve another."""

    def test_steady_traffic(self) -> None:
        """With overlapping requests for a for ever, a request for b is answered soon after `max_wait`."""
        answers = [self.load("a")]
        granted = self.acquire("b")
        for _ in range(30):
            self.clock.advance(1)
            self.acquire("a").addCallbacks(answers.append, lambda _: None)
            if answers:
                answers.pop(0).release()
            if not self.child("a").gone and self.router.upstreams.states().get("a") == "stopping":
                self.child("a").exit()
            if self.router.upstreams.states().get("b") == "starting":
                self.make_ready("b")
                break
        self.successResultOf(granted)
        self.assertLessEqual(self.clock.seconds(), self.router.config.max_wait + 2)
