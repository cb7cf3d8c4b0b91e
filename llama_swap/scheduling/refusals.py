"""The errors for requests that are not served."""

from __future__ import annotations

from llama_swap.errors import NotFound, TooManyRequests
from llama_swap.scheduling.commands import Ticket


def gone(ticket: Ticket) -> NotFound:
    """Its model was taken out of the configuration while it waited."""
    name = ":".join(filter(None, (ticket.target.profile, ticket.model)))
    return NotFound(f"{name} was taken out of the configuration while the request waited for it")


def too_many(model: str, limit: int) -> TooManyRequests:
    """`limit` tickets of its model are served or wait."""
    return TooManyRequests(
        f"Too many requests: model {model} has {limit} in flight or waiting already (models.{model}.concurrencyLimit)"
    )


def too_many_waiting(limit: int) -> TooManyRequests:
    """`limit` tickets wait, of all models together."""
    return TooManyRequests(f"Too many requests: {limit} wait for models already, and this one would have to wait, too")
