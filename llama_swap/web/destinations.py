"""Where requests are sent: the URL and connection pool of a model or peer."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from attrs import frozen

from llama_swap.relay.pool import Pool


class Pools(Protocol):
    """Makes pools of connections."""

    def pool(self, url: str, connect_timeout: float, keepalive: float) -> Pool: ...


@frozen
class Destination:
    """Where the requests for one model, or for one peer, go."""

    url: str
    description: str
    pool: Pool
    authority: bytes
    path: bytes
    """The path of `url`, to be put in front of each request's."""
    connect_timeout: float
    keepalive: float
    is_local: bool
    """Whether it is on this machine: then it gets the client's own `Host` field."""

    def fits(self, url: str, connect_timeout: float, keepalive: float) -> bool:
        """Whether it was made with these settings."""
        return self.url == url and self.connect_timeout == connect_timeout and self.keepalive == keepalive

    @classmethod
    def at(
        cls, url: str, pools: Pools, connect_timeout: float, keepalive: float, *, description: str, is_local: bool
    ) -> Destination:
        """Return the destination at a base URL; this opens no connection.  The timeouts are in seconds."""
        parts = urlsplit(url)
        authority, path = parts.netloc.encode(), parts.path.encode()
        pool = pools.pool(url, connect_timeout, keepalive)
        return cls(url, description, pool, authority, path, connect_timeout, keepalive, is_local)
