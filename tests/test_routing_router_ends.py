"""The router and the ends of models: idle timers, unloads, and the drain."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from llama_swap.errors import Unavailable
from llama_swap.routing.lease import Lease
from tests.support_routing import GRACE, RouterCase


class IdleTests(RouterCase):
    """`ttl`."""

    def setUp(self) -> None:
        self.make_router(ttl=60)

    def advance(self, *seconds: float) -> None:
        self.clock.pump(seconds)

    def assert_stops_after(self, seconds: float) -> None:
        """Check that the model serves until just before, and then leaves."""
        self.advance(seconds - 1)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        self.advance(1)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})

    def test_counts_from_the_last_answer(self) -> None:
        """The model goes so long after its last request ended, and not earlier."""
        lease = self.load("a")
        self.advance(1000)
        other = self.load("a")
        lease.release()
        self.advance(1000)
        other.release()
        self.assert_stops_after(60)
        self.assertEqual(self.child("a").asked, [GRACE])
        self.child("a").exit()
        self.assert_at_rest()

    def test_counts_from_readiness(self) -> None:
        """A model whose clients left while it loaded has its time from when it became ready."""
        self.acquire("a").addErrback(lambda _: None).cancel()
        self.advance(1000)
        self.make_ready("a")
        self.assert_stops_after(60)

    def test_starts_anew_with_each_request(self) -> None:
        """A request in time gives the model its whole time again."""
        self.load("a").release()
        self.advance(59)
        self.load("a").release()
        self.advance(59)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})

    def test_no_use(self) -> None:
        """A lease that was no use of its model takes nothing from its time, and adds nothing to it."""
        self.load("a").release()
        self.advance(30)
        self.load("a").release(used=False)
        self.assert_stops_after(30)
        self.child("a").exit()
        self.assert_at_rest()

    def test_no_use_for_longer(self) -> None:
        """While somebody has such a lease the model stays; if its time is up by then, it goes with that."""
        self.load("a").release()
        useless, other = self.load("a"), self.load("a")
        self.advance(50, 50)
        other.release(used=False)
        self.advance(50)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        useless.release(used=False)
        self.advance(0)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})

    def test_use_beside_no_use(self) -> None:
        """The time counts from the last lease that was use, though another one was released after it."""
        useless, used = self.load("a"), self.load("a")
        self.advance(100)
        used.release()
        self.advance(10)
        useless.release(used=False)
        self.assert_stops_after(50)

    def test_ends_with_its_process(self) -> None:
        """The timer of a process that crashed does not end the next one."""
        self.load("a").release()
        self.advance(30)
        self.child("a").exit(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.advance(20)
        self.load("a").release()
        self.advance(59)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})

    def test_an_old_lease(self) -> None:
        """A lease on a process that crashed neither stops nor starts the timer of the next one while that serves."""
        for _ in range(2):
            cut = self.load("a")
            self.child("a").exit(1)
            cut.release()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        cut = self.load("a")
        self.child("a").exit(1)
        self.load("a").release()
        self.advance(1000)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})
        cut.release()
        self.advance(60)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})

    def test_not_while_somebody_waits(self) -> None:
        """A model that somebody waits for is not unloaded; when that one leaves, the time begins anew."""
        self.load("a").release()
        busy = self.acquire("b", "p")
        self.make_ready("b")
        waiting = self.acquire("a")
        self.assertNoResult(waiting)
        self.advance(60)
        self.assertEqual(self.router.upstreams.states(), {"a": "ready", "b": "ready"})
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.advance(60)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping", "b": "ready"})
        self.successResultOf(busy).release()

    def test_wanted_while_it_leaves(self) -> None:
        """A request that comes while an idle model is leaving starts it again, once it is gone."""
        self.load("a").release()
        self.advance(60)
        granted = self.acquire("a")
        self.assertEqual(self.launcher.launched(), ["a"])
        self.child("a").exit()
        self.make_ready("a")
        self.successResultOf(granted)

    def test_load_behind_its_own_end(self) -> None:
        """The time of a process that is told to leave ends with that, and does not end the load that waits for it."""
        self.load("a").release()
        self.advance(59)
        self.router.unload(["a"])
        self.acquire("a").addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.advance(1)
        self.child("a").exit()
        self.make_ready("a")
        self.assertEqual(self.router.upstreams.states(), {"a": "ready"})


class UnloadTests(RouterCase):
    """Models that are wanted gone."""

    def test_in_use(self) -> None:
        """A model is stopped whoever uses it; the unload is over when nothing of it is left."""
        lease = self.load("a")
        unloaded = self.router.unload(["a"])
        self.assertNoResult(unloaded)
        self.assertEqual(self.child("a").asked, [GRACE])
        self.child("a").exit()
        self.successResultOf(unloaded)
        lease.release()
        self.assert_at_rest()

    def test_while_loading(self) -> None:
        """Who waits is told at once; the load ends."""
        granted = self.acquire("a")
        unloaded = self.router.unload(["a"])
        self.failureResultOf(granted, Unavailable)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.child("a").exit()
        self.successResultOf(unloaded)
        self.assert_at_rest()

    def test_before_its_launch(self) -> None:
        """A model that waits for its address is gone at once."""
        self.readiness.occupied = True
        granted = self.acquire("a")
        self.successResultOf(self.router.unload(["a"]))
        self.failureResultOf(granted, Unavailable)
        self.assertEqual((self.router.upstreams.states(), self.launcher.children), ({}, []))

    def test_before_its_turn(self) -> None:
        """A model that waits for another's end is not there, and does not come later."""
        lease = self.load("a")
        granted = self.acquire("b")
        lease.release()
        self.successResultOf(self.router.unload(["b"]))
        self.failureResultOf(granted, Unavailable)
        self.child("a").exit()
        self.assertEqual(self.router.upstreams.states(), {})

    def test_what_is_not_there(self) -> None:
        """To unload what is not loaded is over at once."""
        self.successResultOf(self.router.unload(["a", "b"]))
        self.successResultOf(self.router.unload([]))

    def test_twice(self) -> None:
        """Two unloads are over together; the process is asked once."""
        self.load("a").release()
        first, second = self.router.unload(["a"]), self.router.unload(["a"])
        self.assertEqual(self.child("a").asked, [GRACE])
        self.child("a").exit()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_whose_client_left(self) -> None:
        """The client of an unload may leave: the model goes all the same, and nobody stumbles."""
        self.load("a").release()
        unloaded = self.router.unload(["a"])
        unloaded.addErrback(lambda _: None).cancel()
        self.child("a").exit()
        self.assertEqual(self.router.upstreams.states(), {})

    def test_all_while_others_wait(self) -> None:
        """All who wait are told before anything stops: nothing is started for one of them on the way."""
        lease, waiting = self.load("b"), [self.acquire("a")]
        self.clock.advance(self.router.config.max_wait)
        waiting.append(self.acquire("b", "p"))  # in which a would start beside b
        self.router.unload_all()
        self.assert_failed(waiting, Unavailable)
        lease.release()
        self.child("b").exit()
        self.assertEqual((self.router.upstreams.states(), self.launcher.launched()), ({}, ["b"]))
        self.assert_at_rest()

    def test_all(self) -> None:
        """`unload_all` is over when the last is gone."""
        granted = self.acquire("a", "p")
        unloaded = self.router.unload_all()
        self.failureResultOf(granted, Unavailable)
        self.child("a").exit()
        self.assertNoResult(unloaded)
        self.child("b").exit()
        self.successResultOf(unloaded)

    def test_and_wanted_again(self) -> None:
        """An unload is over though somebody wants the model again; that one has a new process."""
        self.load("a").release()
        unloaded = self.router.unload(["a"])
        granted = self.acquire("a")
        self.child("a").exit()
        self.successResultOf(unloaded)
        self.assertEqual(self.launcher.launched(), ["a", "a"])
        self.make_ready("a")
        self.successResultOf(granted)

    def test_slow_one_delays_nobody(self) -> None:
        """While one member of a profile takes its time to leave, another serves."""
        self.acquire("a", "p").addCallback(Lease.release)
        self.make_ready("a")
        self.make_ready("b")
        self.router.unload(["b"])
        self.successResultOf(self.acquire("a", "p"))


class ClosingTests(RouterCase):
    """The end."""

    def test_nothing_runs(self) -> None:
        """With nothing in flight the drain is over at once; idle models leave."""
        self.load("a").release()
        self.successResultOf(self.router.close())
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})

    def test_waits_for_answers(self) -> None:
        """The drain is over when the last answer has ended; its model stays until it is unloaded."""
        first, second = self.load("a"), self.load("a")
        quiet = self.router.close()
        first.release()
        self.assertNoResult(quiet)
        second.release()
        self.successResultOf(quiet)
        unloaded = self.router.unload_all()
        self.child("a").exit()
        self.successResultOf(unloaded)
        self.assert_at_rest()

    def test_tells_who_waits_and_who_comes(self) -> None:
        """Queued and new requests fail, loads end; what runs goes on."""
        lease = self.load("a")
        waiting = self.acquire("b")
        self.router.close()
        self.assert_failed([waiting, self.acquire("a"), self.acquire("c")], Unavailable)
        lease.release()
        self.assertEqual(self.launcher.launched(), ["a"])

    def test_ends_loads(self) -> None:
        """A load is ended at once, and nothing is launched after it."""
        granted = self.acquire("a")
        self.successResultOf(self.router.close())
        self.failureResultOf(granted, Unavailable)
        self.assertEqual(self.router.upstreams.states(), {"a": "stopping"})
        self.child("a").exit()
        self.assertEqual(self.router.upstreams.states(), {})

    def test_drain_that_is_cut(self) -> None:
        """A drain that is no longer waited for is no trouble when the answer ends after all."""
        lease = self.load("a")
        quiet = self.router.close()
        quiet.cancel()
        self.failureResultOf(quiet, CancelledError)
        lease.release()

    def test_kill_all(self) -> None:
        """Every model that still has a process is killed, whatever it is doing."""
        self.acquire("a", "p")
        self.make_ready("a")
        unloaded = self.router.unload_all()
        self.router.kill_all()
        self.assertEqual((self.child("a").asked, self.child("b").asked), ([GRACE, "kill"], [GRACE, "kill"]))
        self.child("a").exit(None, 9)
        self.child("b").exit(None, 9)
        self.successResultOf(unloaded)
        self.router.kill_all()
        self.assertEqual(self.child("a").asked, [GRACE, "kill"])
