"""Where requests go, once it is known who is to answer them."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from attrs import frozen

from llama_swap.relay.pool import Pool


class Pools(Protocol):
    """Makes pools of connections."""

    def pool(self, url: str, connect_timeout: float) -> Pool: ...


@frozen
class Destination:
    """Where the requests for one model, or for one peer, go."""

    url: str
    description: str
    pool: Pool
    authority: bytes
    path: bytes
    """Of `url`, in front of that of each request."""
    connect_timeout: float
    is_local: bool
    """Whether it is on this machine: then it is told the `Host` for which the client took the proxy."""

    @classmethod
    def at(
        cls, url: str, description: str, pools: Pools, connect_timeout: float, *, is_local: bool = False
    ) -> Destination:
        """Return the destination at a base URL; to make it opens no connection."""
        parts = urlsplit(url)
        pool = pools.pool(url, connect_timeout)
        return cls(url, description, pool, parts.netloc.encode(), parts.path.encode(), connect_timeout, is_local)
