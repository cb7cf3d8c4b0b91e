"""The scheduler and the ends of models: failures, crashes, unloads, and the end of it all."""

from __future__ import annotations

from llama_swap.errors import Unavailable
from llama_swap.scheduling.commands import Drop, Reject, Serve, Start, Stop
from tests.support_scheduling import ERROR, MAX_WAIT, SchedulerCase, scheduler_of


class FailureTests(SchedulerCase):
    """Models that do not become ready, or do not stay."""

    def test_tells_everybody(self) -> None:
        """A failed load answers all who wait for that model, and nobody else."""
        tickets = [self.ask("a")[0] for _ in range(3)]
        other, _ = self.ask("b")
        self.assertEqual(self.scheduler.failed("a", ERROR), [Reject(ticket, ERROR) for ticket in tickets])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(other)])

    def test_tries_again(self) -> None:
        """One failed load does not poison the model: the next request starts it as soon as the rest is gone."""
        self.ask("a")
        self.scheduler.failed("a", ERROR)
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(ticket)])

    def test_survives_a_crash(self) -> None:
        """A model that ends by itself is started anew; answers that were cut count until they are released."""
        served = self.serve("a")
        self.assertEqual(self.scheduler.stopped("a"), [])
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [Start("a")])
        self.assertEqual(self.scheduler.in_flight("a"), 1)
        self.scheduler.released(served)
        self.assertEqual(self.scheduler.ready("a"), [Serve(ticket)])

    def test_goes_on_after_a_crash(self) -> None:
        """Who waited for the place of a model that crashed gets it."""
        self.serve("a")
        ticket, _ = self.ask("b")
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(ticket)])

    def test_takes_late_news_of_an_unloaded_model(self) -> None:
        """A model that is told to stop may become ready, or fail, before it hears of it: its next start stands."""
        for news in (lambda: self.scheduler.ready("a"), lambda: self.scheduler.failed("a", ERROR)):
            self.scheduler = scheduler_of(self.models)
            self.ask("a")
            self.scheduler.unloaded("a")
            self.assertEqual(news(), [])
            ticket, commands = self.ask("a")
            self.assertEqual(commands, [])
            self.assertEqual(news(), [])
            self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
            self.assertEqual(self.scheduler.ready("a"), [Serve(ticket)])


class UnloadTests(SchedulerCase):
    """Models that somebody wants gone."""

    def test_ignores_the_idle_timer_of_a_model_in_use(self) -> None:
        """A model that is used, or waited for, is not unloaded for being idle."""
        served = self.serve("a")
        self.assertEqual(self.scheduler.idled("a"), [])
        self.scheduler.released(served)
        self.assertEqual(self.scheduler.idled("a"), [Stop("a")])
        self.assertEqual(self.scheduler.idled("a"), [])

    def test_unloads_a_model_in_use(self) -> None:
        """An unload stops the model whoever uses it; what it serves is released later."""
        served = self.serve("a")
        self.assertEqual(self.scheduler.unloaded("a"), [Stop("a")])
        self.assertEqual(self.scheduler.stopped("a"), [])
        self.assertEqual(self.scheduler.released(served), [])
        self.assertEqual(self.scheduler.in_flight(), 0)

    def test_unloads_a_model_that_loads(self) -> None:
        """Who waits for the load is told at once, and the load ends."""
        ticket, _ = self.ask("a")
        rejection, *rest = self.scheduler.unloaded("a")
        self.assert_rejected([rejection], [ticket], Unavailable)
        self.assertEqual(rest, [Stop("a")])
        self.assertEqual(self.scheduler.stopped("a"), [])

    def test_unloads_a_model_whose_turn_has_not_come(self) -> None:
        """A model that waits for another to leave has no process to stop, and does not start later."""
        self.load("a")
        ticket, _ = self.ask("b")
        *rejection, rest = self.scheduler.unloaded("b")
        self.assert_rejected(rejection, [ticket], Unavailable)
        self.assertEqual(rest, Drop("b"))
        self.assertEqual(self.scheduler.stopped("a"), [])

    def test_hands_the_turn_on(self) -> None:
        """When the model whose turn it was is unloaded, the next in the queue takes its place."""
        self.load("a")
        second, _ = self.ask("b")
        third, commands = self.ask("c")
        self.assertEqual(commands, [])
        *rejection, rest = self.scheduler.unloaded("b")
        self.assert_rejected(rejection, [second], Unavailable)
        self.assertEqual(rest, Drop("b"))
        self.assertEqual(self.scheduler.stopped("a"), [Start("c")])
        self.assertEqual(self.scheduler.ready("c"), [Serve(third)])

    def test_unloads_several(self) -> None:
        """Nothing starts on the way for those who wait for what is to be unloaded as well."""
        self.serve("a")
        waiting = [self.ask(name)[0] for name in ("b", "c", "b")]
        *rejections, rest = self.scheduler.unloaded("a", "b", "c")
        self.assert_rejected(rejections, [waiting[0], waiting[2], waiting[1]], Unavailable)
        self.assertEqual(rest, Stop("a"))
        self.assertEqual(self.scheduler.stopped("a"), [])

    def test_unloads_what_is_not_there(self) -> None:
        """To unload a model that is gone, or leaving, is nothing."""
        self.assertEqual(self.scheduler.unloaded("a"), [])
        self.load("a")
        self.scheduler.idled("a")
        self.assertEqual(self.scheduler.unloaded("a"), [])

    def test_unloads_a_model_that_others_yield_to(self) -> None:
        """Who waited behind requests that an unload rejected goes on at once."""
        self.serve("a")
        overdue, _ = self.ask("b", arrived=0.0)
        late, _ = self.ask("a", arrived=MAX_WAIT)
        rejection, *rest = self.scheduler.unloaded("b")
        self.assert_rejected([rejection], [overdue], Unavailable)
        self.assertEqual(rest, [Serve(late)])

    def test_does_not_mix_up_an_old_answer(self) -> None:
        """A model that was unloaded while it answered is not reused for its successor before that answer ended."""
        served = self.serve("a")
        self.scheduler.unloaded("a")
        self.assertEqual(self.ask("b")[1], [])
        self.assertEqual(self.scheduler.released(served), [])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])


class ClosingTests(SchedulerCase):
    """The end."""

    def test_rejects_who_waits_and_who_comes(self) -> None:
        """Queued and new requests are told that the proxy is stopping."""
        served = self.serve("a")
        waiting, _ = self.ask("b")
        self.assert_rejected(self.scheduler.closed(), [waiting], Unavailable)
        ticket, commands = self.ask("a")
        self.assert_rejected(commands, [ticket], Unavailable)
        self.assertEqual(self.scheduler.released(served), [])

    def test_ends_loads_and_idle_models(self) -> None:
        """Only models that answer somebody stay."""
        self.load("a")
        self.assertEqual(self.scheduler.closed(), [Stop("a")])
        self.scheduler = scheduler_of(self.models)
        ticket, _ = self.ask("a")
        rejection, *rest = self.scheduler.closed()
        self.assert_rejected([rejection], [ticket], Unavailable)
        self.assertEqual(rest, [Stop("a")])

    def test_starts_nothing_any_more(self) -> None:
        """A model that waited for its turn does not get it after the end, even if old answers of it still run."""
        cut = self.serve("b")
        self.scheduler.stopped("b")
        self.load("a")
        self.ask("b")
        self.scheduler.closed()
        self.assertEqual(self.scheduler.stopped("a"), [])
        self.assertEqual(self.scheduler.released(cut), [])
