"""The values of smaller top-level sections.  See `llama_swap.config.model`."""

from __future__ import annotations

from attrs import field, frozen

from llama_swap.config.patterns import compiled

IGNORED_PATHS = (r".*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$",)
"""Files that browsers fetch on their own, for example when tabs are restored."""
LONGEST_IGNORED = 1024
"""Bytes of a path.  Longer ones match none of these expressions: in Python, some take very long for such paths."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods that pages of an allowed origin may use by default."""


@frozen(kw_only=True)
class UpstreamConfig:
    """`upstream`."""

    ignore_paths: tuple[str, ...] = IGNORED_PATHS
    """Regular expressions in Go's syntax."""

    def ignores(self, path: str) -> bool:
        """Whether a request for `path` must not load a model."""
        return len(path) <= LONGEST_IGNORED and any(compiled(pattern).search(path) for pattern in self.ignore_paths)


@frozen(kw_only=True)
class CorsConfig:
    """`security.cors`: the CORS policy for pages of other sites (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may use the proxy and read its answers; `*` stands for all."""
    allow_credentials: bool = False
    """Whether their requests may carry credentials, such as cookies."""
    allow_private_network: bool = False
    """Whether public pages may reach a private network (https://wicg.github.io/private-network-access/)."""
    allowed_methods: tuple[str, ...] = METHODS
    allowed_headers: tuple[str, ...] = ()
    """Request headers; none: those that the preflight request asks for."""
    exposed_headers: tuple[str, ...] = ()
    """Response headers that pages may read besides those that are always readable."""
    max_age: int = 86400
    """How long browsers may cache the result of a preflight request, in seconds."""


@frozen(kw_only=True)
class SecurityConfig:
    """`security`."""

    cors: CorsConfig = field(factory=CorsConfig)


@frozen(kw_only=True)
class StoreConfig:
    """`store`."""

    path: str | None = None
    """The SQLite database for the activity; None: it is kept in memory."""


@frozen(kw_only=True)
class PerformanceConfig:
    """`performance`: how often the hardware is read, in seconds."""

    disabled: bool = False
    every: float = 5.0


@frozen(kw_only=True)
class UIActivityConfig:
    """`ui.activity`."""

    session_id: tuple[str, ...] = ("X-Session-ID", "X-Litellm-Session-Id")
    """Names of headers; the first that a request has is its session id."""


@frozen(kw_only=True)
class UIConfig:
    """`ui`."""

    activity: UIActivityConfig = field(factory=UIActivityConfig)
