"""What the smaller sections at the top of a configuration file say, as values.  See `llama_swap.config.model`."""

from __future__ import annotations

from attrs import field, frozen

from llama_swap.config.patterns import compiled

IGNORED_PATHS = (r".*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$",)
"""What browsers ask for by themselves, long after the page that needed it was closed."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What pages may do that may do anything."""


@frozen(kw_only=True)
class UpstreamConfig:
    """`upstream`."""

    ignore_paths: tuple[str, ...] = IGNORED_PATHS
    """Regular expressions of Go."""

    def ignores(self, path: str) -> bool:
        """Whether no model is to be loaded for the sake of `path`."""
        return any(compiled(pattern).search(path) for pattern in self.ignore_paths)


@frozen(kw_only=True)
class CorsConfig:
    """`security.cors`: what browsers are told, of what the pages of other sites may do."""

    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may use the proxy, and read whatever it answers; `*` stands for all."""
    allow_credentials: bool = False
    """Whether those may send cookies and the like."""
    allow_private_network: bool = False
    """Whether those of the public network may reach a private one (https://wicg.github.io/private-network-access/)."""
    allowed_methods: tuple[str, ...] = METHODS
    allowed_headers: tuple[str, ...] = ()
    """Of requests; none: what the browser asks for."""
    exposed_headers: tuple[str, ...] = ()
    """Of answers, that those pages may read besides the usual ones."""
    max_age: int = 86400
    """How long browsers may remember what they were told."""


@frozen(kw_only=True)
class SecurityConfig:
    """`security`."""

    cors: CorsConfig = field(factory=CorsConfig)


@frozen(kw_only=True)
class StoreConfig:
    """`store`."""

    path: str | None = None
    """A file of SQLite for the activity; None: it is kept in memory."""


@frozen(kw_only=True)
class PerformanceConfig:
    """`performance`: how the hardware is watched."""

    disabled: bool = False
    every: float = 5.0


@frozen(kw_only=True)
class UIActivityConfig:
    """`ui.activity`."""

    session_id: tuple[str, ...] = ("X-Session-ID", "X-Litellm-Session-Id")
    """Names of headers; the first that a request has says to which session of a client it belongs."""


@frozen(kw_only=True)
class UIConfig:
    """`ui`."""

    activity: UIActivityConfig = field(factory=UIActivityConfig)
