"""The scheduler, event by event: who waits, who is served, what starts and stops for it."""

from __future__ import annotations

from typing import ClassVar

from llama_swap.errors import Conflict, StartFailed, TooManyRequests
from llama_swap.scheduling.commands import Reject, Serve, Start, Stop, Ticket
from tests.support_scheduling import ERROR, MAX_WAIT, SchedulerCase, target_for


class ServingTests(SchedulerCase):
    """One model, and those who want it."""

    def test_starts_a_cold_model(self) -> None:
        """The first request starts its model, and is served when it is ready."""
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [Start("a")])
        self.assertEqual(self.scheduler.waiting(), 1)
        self.assertEqual(self.scheduler.ready("a"), [Serve(ticket)])
        self.assertEqual((self.scheduler.waiting(), self.scheduler.in_flight("a")), (0, 1))

    def test_serves_a_warm_model_at_once(self) -> None:
        """A request for a model that is ready waits for nothing."""
        self.load("a")
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [Serve(ticket)])

    def test_starts_once_for_many(self) -> None:
        """Requests that come while a model loads join that load, and are served together, in order."""
        tickets = [self.ask("a")[0] for _ in range(5)]
        self.assertEqual(self.scheduler.ready("a"), [Serve(ticket) for ticket in tickets])

    def test_counts_what_is_in_flight(self) -> None:
        """Served tickets count until each is released."""
        first, second = self.serve("a"), self.serve("a")
        self.assertEqual((self.scheduler.in_flight("a"), self.scheduler.in_flight()), (2, 2))
        self.scheduler.released(first)
        self.scheduler.released(second)
        self.assertEqual((self.scheduler.in_flight("a"), self.scheduler.in_flight()), (0, 0))

    def test_never_mistakes_one_ticket_for_another(self) -> None:
        """Two requests with equal targets and times are two tickets."""
        first, second = Ticket(target_for("a"), 0.0), Ticket(target_for("a"), 0.0)
        self.assertNotEqual(first, second)
        self.scheduler.requested(first)
        self.scheduler.requested(second)
        self.scheduler.cancelled(first)
        self.assertEqual(self.scheduler.ready("a"), [Serve(second)])


class LimitTests(SchedulerCase):
    """The most requests that a model may have."""

    limit = 2

    def test_refuses_one_too_many_while_loading(self) -> None:
        """Waiting requests count, and the error names the model, the number and the key."""
        self.ask("a")
        self.ask("a")
        ticket, commands = self.ask("a")
        self.assert_rejected(commands, [ticket], TooManyRequests)
        message = str(commands[0].error) if isinstance(commands[0], Reject) else ""
        self.assertIn("model a has 2", message)
        self.assertIn("models.a.concurrencyLimit", message)

    def test_counts_served_and_waiting_together(self) -> None:
        """One served and one waiting fill a limit of two; the others' requests do not count."""
        served = self.serve("a")
        self.ask("b")
        waiting, commands = self.ask("a")
        self.assertEqual(commands, [Serve(waiting)])
        ticket, commands = self.ask("a")
        self.assert_rejected(commands, [ticket], TooManyRequests)
        self.scheduler.released(served)
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [Serve(ticket)])

    def test_gives_back_the_place_of_who_left(self) -> None:
        """A cancelled request makes room."""
        self.ask("a")
        second, _ = self.ask("a")
        self.scheduler.cancelled(second)
        self.assertEqual(self.ask("a")[1], [])


class SwapTests(SchedulerCase):
    """One model in the place of another."""

    def test_stops_the_old_before_the_new_starts(self) -> None:
        """The stop names its successor, and the start waits until nothing of the old is left."""
        self.load("a")
        ticket, commands = self.ask("b")
        self.assertEqual(commands, [Stop("a", "b")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(ticket)])

    def test_cuts_no_answer(self) -> None:
        """A model that answers somebody goes only after its last answer."""
        first, second = self.serve("a"), self.serve("a")
        self.assertEqual(self.ask("b")[1], [])
        self.assertEqual(self.scheduler.released(first), [])
        self.assertEqual(self.scheduler.released(second), [Stop("a", "b")])

    def test_finishes_a_load_first(self) -> None:
        """A load under way is not given up for another model: those who wait for it are served before."""
        first, _ = self.ask("a")
        self.assertEqual(self.ask("b")[1], [])
        self.assertEqual(self.scheduler.ready("a"), [Serve(first)])
        self.assertEqual(self.scheduler.released(first), [Stop("a", "b")])

    def test_finishes_a_load_that_nobody_wants_any_more(self) -> None:
        """A load completes without its clients; who waits then goes on at once."""
        first, _ = self.ask("a")
        self.ask("b")
        self.assertEqual(self.scheduler.cancelled(first), [])
        self.assertEqual(self.scheduler.ready("a"), [Stop("a", "b")])

    def test_groups_requests_by_model(self) -> None:
        """A B C A B C costs three loads, not six."""
        tickets = [self.ask(name)[0] for name in "abcabc"]
        commands, log = [Start("a")], []
        while commands:
            command = commands.pop(0)
            log.append(command)
            match command:
                case Start(model):
                    commands += self.scheduler.ready(model)
                case Serve(ticket):
                    commands += self.scheduler.released(ticket)
                case Stop(model):
                    commands += self.scheduler.stopped(model)
        self.assertEqual(sum(isinstance(command, Start) for command in log), 3)
        self.assertEqual({command.ticket for command in log if isinstance(command, Serve)}, set(tickets))

    def test_waits_for_the_end_of_the_same_model(self) -> None:
        """A model that is leaving and wanted again starts once its old process is gone, exactly once."""
        self.load("a")
        self.assertEqual(self.scheduler.idled("a"), [Stop("a")])
        first, commands = self.ask("a")
        self.assertEqual(commands, [])
        second, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(first), Serve(second)])

    def test_goes_back_to_a_model_that_is_being_evicted(self) -> None:
        """Wanting the evicted model again waits for the turn of its successor: no start is lost."""
        self.load("a")
        second, _ = self.ask("b")
        third, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(second)])
        self.assertEqual(self.scheduler.released(second), [Stop("b", "a")])
        self.assertEqual(self.scheduler.stopped("b"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(third)])

    def test_waits_for_a_model_that_is_stopping_anyway(self) -> None:
        """A model that leaves already is not stopped again, only waited for."""
        self.load("a")
        self.scheduler.idled("a")
        self.assertEqual(self.ask("b")[1], [])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])


class UnlessColdTests(SchedulerCase):
    """Requests for which nothing may start."""

    profiles: ClassVar = {"p": "a b"}

    def refused(self, name: str) -> None:
        """A request for `name` is refused at once."""
        ticket, commands = self.ask(name)
        self.assert_rejected(commands, [ticket], Conflict)

    def test_states(self) -> None:
        """A model that is there serves them, one that is being loaded will; not one that is gone, or going."""
        self.refused("a?")
        served, _ = self.ask("a")
        waiting, commands = self.ask("a?")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.ready("a"), [Serve(served), Serve(waiting)])
        self.scheduler.released(served)
        self.scheduler.released(waiting)
        self.assertEqual(self.scheduler.idled("a"), [Stop("a")])
        self.refused("a?")
        self.assertEqual(self.scheduler.stopped("a"), [])
        self.refused("a?")

    def test_evicted(self) -> None:
        """Who asks while a model goes for another one does not bring it back."""
        self.load("a")
        self.ask("b")
        self.refused("a?")
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])

    def test_overtaken(self) -> None:
        """Who had to let another one have its turn first does not bring the model back either."""
        served = self.serve("a")
        self.ask("b")
        late, commands = self.ask("a?", arrived=MAX_WAIT)
        self.assertEqual(commands, [])
        stopping, rejected = self.scheduler.released(served)
        self.assertEqual(stopping, Stop("a", successor="b"))
        self.assert_rejected([rejected], [late], Conflict)

    def test_load_that_fails(self) -> None:
        """Who waits for a load that others began does not begin another."""
        first, _ = self.ask("a")
        waiting, _ = self.ask("a?")
        self.assertEqual(self.scheduler.cancelled(first), [])
        self.assert_rejected(self.scheduler.failed("a", ERROR), [waiting], StartFailed)

    def test_profile(self) -> None:
        """Nothing starts or stops beside it either."""
        self.load("a")
        ticket, commands = self.ask("p:a?")
        self.assertEqual(commands, [Serve(ticket)])
        self.scheduler.released(ticket)
        together, commands = self.ask("p:a")
        self.assertEqual(commands, [Serve(together), Start("b")])
        self.scheduler.ready("b")
        [command] = self.ask("a?")[1]
        self.assertIsInstance(command, Serve)
        self.assertEqual(self.scheduler._ready, {"a", "b"})


class LeavingClientTests(SchedulerCase):
    """Clients that do not wait for their answer."""

    def test_starts_nothing_for_who_left(self) -> None:
        """A queued request whose client left never starts anything."""
        served = self.serve("a")
        waiting, _ = self.ask("b")
        self.assertEqual(self.scheduler.cancelled(waiting), [])
        self.assertEqual(self.scheduler.released(served), [])
        self.assertEqual(self.scheduler.waiting(), 0)

    def test_makes_way(self) -> None:
        """When the one that others yield to leaves, they go on."""
        served = self.serve("a")
        waiting, _ = self.ask("b", arrived=0.0)
        late, commands = self.ask("a", arrived=MAX_WAIT)
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.cancelled(waiting), [Serve(late)])
        self.assertNotIn(served, (waiting, late))

    def test_leaves_after_being_served(self) -> None:
        """To cancel a served ticket changes nothing: it is to be released."""
        served = self.serve("a")
        self.assertEqual(self.scheduler.cancelled(served), [])
        self.assertEqual(self.scheduler.in_flight("a"), 1)


class FairnessTests(SchedulerCase):
    """Steady traffic to one model cannot starve another."""

    def test_lets_newcomers_through_for_a_while(self) -> None:
        """Until somebody has waited for `max_wait`, a busy model goes on serving."""
        self.serve("a")
        self.ask("b", arrived=0.0)
        ticket, commands = self.ask("a", arrived=MAX_WAIT - 0.01)
        self.assertEqual(commands, [Serve(ticket)])

    def test_holds_newcomers_back(self) -> None:
        """Then no new request is let through until the one that waits has had its turn."""
        served = self.serve("a")
        waiting, _ = self.ask("b", arrived=0.0)
        late, commands = self.ask("a", arrived=MAX_WAIT)
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.released(served), [Stop("a", "b")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(waiting)])
        self.assertEqual(self.scheduler.released(waiting), [Stop("b", "a")])
        self.assertEqual(self.scheduler.stopped("b"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(late)])

    def test_serves_those_who_want_the_same(self) -> None:
        """Who wants the model of the one that waited too long is served right after it, however late it came."""
        busy = self.serve("a")
        waiting, _ = self.ask("b", arrived=0.0)
        late, commands = self.ask("b", arrived=MAX_WAIT + 5)
        self.assertEqual(commands, [])
        self.scheduler.released(busy)
        self.scheduler.stopped("a")
        self.assertEqual(self.scheduler.ready("b"), [Serve(waiting), Serve(late)])
