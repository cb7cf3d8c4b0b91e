"""The waiting tickets, in the order of their turns.

Tickets with the same target differ only in their arrival: what one waits for, those behind it wait for too.  So each
target has a lane, and only the first ticket of each lane needs to be decided.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from attrs import define, field

from llama_swap.scheduling.commands import Target, Ticket


class Waiting(NamedTuple):
    """A ticket at its place in the queue: of two, the smaller has its turn first."""

    due: float
    number: int
    """Orders tickets with equal times; later ones have higher numbers."""
    ticket: Ticket


@define
class Queue:
    """Waiting tickets, by what they ask for."""

    _lanes: dict[Target, deque[Waiting]] = field(factory=dict)
    """None is empty."""
    _counts: Counter[str] = field(factory=Counter)
    _number: int = 0

    def __len__(self) -> int:
        return self._counts.total()

    def __iter__(self) -> Iterator[Waiting]:
        """Yield the first of each lane, in no order."""
        for lane in self._lanes.values():
            yield lane[0]

    def count(self, model: str) -> int:
        """How many tickets wait for `model`."""
        return self._counts[model]

    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not self._lanes

    def first(self, target: Target) -> Waiting | None:
        """Return the first ticket that waits for `target`, if any."""
        lane = self._lanes.get(target)
        return lane[0] if lane else None

    def add(self, ticket: Ticket, due: float) -> Waiting:
        """Add `ticket`; `due` must not be earlier than that of the last one with the same target."""
        self._number += 1
        waiting = Waiting(due, self._number, ticket)
        self._lanes.setdefault(ticket.target, deque()).append(waiting)
        self._counts[ticket.model] += 1
        return waiting

    def remove(self, ticket: Ticket) -> bool:
        """Take `ticket` out; return whether it was waiting."""
        lane = self._lanes.get(ticket.target, ())
        waiting = next((waiting for waiting in lane if waiting.ticket is ticket), None)
        if waiting is not None:
            self._take(waiting)
        return waiting is not None

    def take(self, model: str | None = None) -> list[Ticket]:
        """Take out every ticket of `model`, or all; return them in the order of their turns."""
        taken = sorted(
            waiting for target, lane in self._lanes.items() if model in (None, target.model) for waiting in lane
        )
        for waiting in taken:
            self._take(waiting)
        return [waiting.ticket for waiting in taken]

    def _take(self, waiting: Waiting) -> None:
        target = waiting.ticket.target
        lane = self._lanes[target]
        lane.remove(waiting)
        if not lane:
            del self._lanes[target]
        self._counts[target.model] -= 1
