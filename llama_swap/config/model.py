"""The values of a configuration, as `llama_swap.config.load` makes them from YAML.

`docs/configuration.md` explains the keys.  Times are in seconds, sizes in bytes, unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from llama_swap.config.ports import address_of
from llama_swap.config.sections import PerformanceConfig, SecurityConfig, StoreConfig, UIConfig, UpstreamConfig
from llama_swap.net.loopback import leads_to_this_machine

PID = "${PID}"
"""The placeholder for the process id in `cmd_stop`, which is replaced when the model is stopped."""
COMFYUI_MODEL = "comfyui_auto"
"""The model that is served at `/comfyui/`, whose pages, once open in a browser, keep sending requests."""
IF_ABSENT = "?"
"""The suffix of the path of a parameter that is only set in requests that do not have it."""


@frozen(kw_only=True)
class Capabilities:
    """`capabilities` of a model, which clients see in the list of models."""

    in_: tuple[str, ...] = ()
    """Modalities of its input: text, audio, image, video."""
    out: tuple[str, ...] = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0
    """In tokens; 0: unknown."""
    disable_auto: bool = False
    """Without effect: servers are not asked what their models can do."""


@frozen(kw_only=True)
class Timeouts:
    """`timeouts` of a model or a peer, in seconds."""

    connect: float = 30.0
    response_header: float = 0.0
    """From the request to the head of the answer; 0: no limit."""
    tls_handshake: float = 10.0
    keepalive: float = 30.0
    """Idle time before the first TCP keepalive probe."""
    expect_continue: float = 1.0
    idle_conn: float = 90.0


@frozen(kw_only=True)
class Filters:
    """`filters` of a model or a peer.  Paths are names separated by dots: see `llama_swap.bodies.filters`."""

    strip_params: tuple[str, ...] = ()
    """Paths that are removed from requests, first of all."""
    set_params: Mapping[str, Any] = field(factory=dict)
    """Values to set, by path; with `IF_ABSENT` at the end of the path, only if there is none."""
    set_params_by_id: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    """Values to set last, by the name that was asked for, or by the peer's own name for the model."""


@frozen(kw_only=True)
class Compat:
    """`compat` of a model."""

    ignore_websockets: bool = False
    """WebSockets count neither as requests in flight, nor as use of the model."""


@frozen(kw_only=True)
class ModelConfig:
    """One entry of `models`, with macros expanded and defaults filled in."""

    id: str
    cmd: tuple[str, ...]
    """The argument vector; (): the file has none, so the model cannot be started."""
    cmd_stop: tuple[str, ...] = ()
    """The argument vector of the command that stops it, with `PID` as placeholder; (): SIGTERM stops it."""
    proxy: str
    """Base URL of the server that `cmd` starts, without a trailing slash."""
    port: int | None = field(default=None, eq=False)
    """The value of `${PORT}`, already expanded in the other attributes; None if the model does not use it."""
    aliases: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict)
    """Added to the inherited environment."""
    check_endpoint: str | None = "/health"
    """Path that answers 200 once the model is ready; None: it is ready when it accepts connections."""
    ttl: int = 0
    """Unload after this time without a request; 0: never."""
    unload_timeout: int = 10
    """From SIGTERM, or `cmd_stop`, to SIGKILL."""
    unlisted: bool = False
    use_model_name: str | None = None
    """The `model` that is sent upstream instead of the client's."""
    concurrency_limit: int = 10
    """The most requests in flight and queued, together; one more is refused with 429."""
    name: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = field(factory=dict)
    """Passed on to clients unchanged."""
    capabilities: Capabilities = Capabilities()
    timeouts: Timeouts = Timeouts()
    disable_keep_alives: bool = False
    """Without effect: the pool keeps connections alive whenever the server allows it."""
    compat: Compat = Compat()
    filters: Filters | None = None
    """Changes to the parameters of requests."""
    send_loading_state: bool = False
    """Whether streamed chats begin at once with a message that the model is being loaded."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where the server listens; equal for all usual names of this machine."""
        return address_of(self.proxy)

    @property
    def is_local(self) -> bool:
        """Whether the server listens on this machine."""
        return leads_to_this_machine(self.address[0])


@frozen(kw_only=True)
class Group:
    """One entry of `groups`."""

    members: tuple[str, ...] = ()
    """Ids of models."""
    swap: bool = True
    """Only one member runs at a time."""
    exclusive: bool = True
    """A member evicts the models of other groups."""
    persistent: bool = False
    """Other groups, and profiles, do not evict the members."""


@frozen(kw_only=True)
class Matrix:
    """The section `matrix`."""

    variables: Mapping[str, str] = field(factory=dict)
    """From short names of models to ids."""
    evict_costs: Mapping[str, int] = field(factory=dict)
    """The cost of unloading a model, by id; 1 if it is not here."""
    sets: Mapping[str, str] = field(factory=dict)
    """Expressions by name, as written."""
    combinations: tuple[frozenset[str], ...] = ()
    """The sets of models that may run together, in the order of their definition."""


@frozen(kw_only=True)
class Routing:
    """Which models may run together, and whose requests go first."""

    groups: Mapping[str, Group] = field(factory=dict)
    """By name.  Models in none of them form a group together."""
    matrix: Matrix | None = None
    """None: groups are used."""
    priority: Mapping[str, int] = field(factory=dict)
    """By id; higher ones go first; 0 if a model is not here."""


@frozen(kw_only=True)
class Selector:
    """One entry of `selectors`: a name that stands for one of several models, chosen anew for each request."""

    strategy: str
    """`warm`, `pin` or `spillover`."""
    targets: tuple[str, ...]
    """Names of models, the preferred one first."""
    spillover: int = 1
    """The number of requests at each running target from which on the next target is loaded."""
    name: str = ""
    description: str = ""
    unlisted: bool = False
    metadata: Mapping[str, Any] = field(factory=dict)
    """Passed on to clients unchanged."""


@frozen(kw_only=True)
class Peer:
    """One entry of `peers`: another server, whose models can be asked for here."""

    proxy: str
    """Its base URL, without a trailing slash."""
    models: tuple[str, ...] | None = None
    """Its own names of its models; None: it is asked for them."""
    api_key: str | None = field(default=None, repr=False)
    """The key that is sent to it."""
    filters: Filters | None = None
    """Changes to the parameters of requests."""
    timeouts: Timeouts = Timeouts(response_header=60.0)


@frozen(kw_only=True)
class PinProfile:
    """One entry of `profiles` with `pins`, which redirect names while the profile is active."""

    description: str = ""
    pins: Mapping[str, str | None] = field(factory=dict)
    """From a name to the model or selector that serves it; None: the name is refused."""


@frozen(kw_only=True)
class Config:
    """A whole configuration: one file, or several that were merged."""

    models: Mapping[str, ModelConfig]
    """By id, in the order of the file."""
    profiles: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """List profiles: name to the ids of its members (aliases already resolved)."""
    pin_profiles: Mapping[str, PinProfile] = field(factory=dict)
    """Profiles with pins, by name."""
    selectors: Mapping[str, Selector] = field(factory=dict)
    """By name."""
    peers: Mapping[str, Peer] = field(factory=dict)
    """By name."""
    routing: Routing = Routing()
    health_check_timeout: int = 120
    """The longest time from the start of a model to its first healthy answer."""
    log_requests: bool = False
    listen: str | None = None
    """The address to listen on, unless `--listen` is given."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Every client must send one of these keys; empty: no key is needed."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may use the proxy besides those of this machine; `*` stands for all."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names by which a proxy that listens only on loopback may be addressed, besides those of this machine."""
    global_concurrency_limit: int = 0
    """The most inference requests at a time, for all models and peers together; 0: no limit."""
    security: SecurityConfig = field(factory=SecurityConfig)
    max_wait: float = 10.0
    """The longest time for which a queued request may be overtaken by requests for busier models."""
    max_request_body: int = 256 * 1024 * 1024
    read_ahead: bool = True
    """Whether the files of the next model are read into the page cache while the model before it stops."""
    metrics_max_in_memory: int = 1000
    """The most entries of the activity that are kept without a `store`."""
    capture_buffer: int = 5
    """Megabytes of captured requests and answers that are kept."""
    log_level: str = "info"
    """debug, info, warn or error."""
    log_time_format: str = ""
    """The name of a layout in Go's package `time`, in lower case; empty: llama-swap's own format."""
    log_to_stdout: str = "proxy"
    """Whose lines are printed: proxy, upstream, both or none."""
    include_aliases_in_list: bool = False
    upstream: UpstreamConfig = field(factory=UpstreamConfig)
    preload: tuple[str, ...] = ()
    """Ids of the models that are loaded at startup, one after the other."""
    startup_profile: str | None = None
    """Which of `pin_profiles` is active after startup and after a reload; None: none is."""
    store: StoreConfig = field(factory=StoreConfig)
    ui: UIConfig = field(factory=UIConfig)
    performance: PerformanceConfig = field(factory=PerformanceConfig)
