"""Where requests go, once it is known who is to answer them."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from attrs import frozen

from llama_swap.relay.pool import Pool


class Pools(Protocol):
    """Makes pools of connections."""

    def pool(self, url: str) -> Pool: ...


@frozen
class Destination:
    """Where the requests for one model, or for one peer, go."""

    url: str
    description: str
    pool: Pool
    authority: bytes
    path: bytes
    """Of `url`, in front of that of each request."""

    @classmethod
    def at(cls, url: str, description: str, pools: Pools) -> Destination:
        """Return the destination at a base URL; to make it opens no connection."""
        parts = urlsplit(url)
        return cls(url, description, pools.pool(url), parts.netloc.encode(), parts.path.encode())
