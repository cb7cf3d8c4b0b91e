"""The queue: lanes, order, and how many wait."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.scheduling.commands import Ticket
from llama_swap.scheduling.queue import Queue
from tests.support_scheduling import target_for


class QueueTests(SynchronousTestCase):
    """`Queue`."""

    def setUp(self) -> None:
        self.queue = Queue()

    def add(self, name: str, due: float = 0.0) -> Ticket:
        """Let a ticket wait."""
        ticket = Ticket(target_for(name), 0.0)
        self.queue.add(ticket, due)
        return ticket

    def firsts(self) -> list[Ticket]:
        """Return the first of each lane, in order."""
        return [waiting.ticket for waiting in sorted(self.queue)]

    def test_first_of_each_lane(self) -> None:
        """Tickets of one target stand behind each other; lanes come in the order of their first."""
        a, b = self.add("a"), self.add("b")
        again, p = self.add("a"), self.add("p:a")
        self.assertEqual(self.firsts(), [a, b, p])
        self.queue.remove(a)
        self.assertEqual(self.firsts(), [b, again, p])

    def test_due(self) -> None:
        """Who is due earlier comes first, whenever it came."""
        late, early = self.add("a", 5.0), self.add("b", 1.0)
        self.assertEqual(self.firsts(), [early, late])

    def test_counts(self) -> None:
        """Tickets are counted by model, through whatever profile they came."""
        a, _, _ = self.add("a"), self.add("p:a"), self.add("b")
        self.assertEqual((self.queue.count("a"), self.queue.count("b"), len(self.queue)), (2, 1, 3))
        self.assertTrue(self.queue.remove(a))
        self.assertFalse(self.queue.remove(a))
        self.assertEqual((self.queue.count("a"), len(self.queue)), (1, 2))

    def test_take(self) -> None:
        """Those of a model are taken in the order of their turns, from every lane; so are all."""
        tickets = [self.add(name) for name in ("a", "b", "p:a", "a", "b")]
        self.assertEqual(self.queue.take("a"), [tickets[0], tickets[2], tickets[3]])
        self.assertEqual(self.queue.take(), [tickets[1], tickets[4]])
        self.assertTrue(self.queue.is_empty())
        self.assertEqual(self.queue.take(), [])
