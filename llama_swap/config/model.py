"""What a configuration file says, as values.

`llama_swap.config.load` makes these from YAML; nothing here reads files or knows defaults of the machine.
Times are in seconds, sizes in bytes, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from llama_swap.config.ports import address_of
from llama_swap.config.sections import PerformanceConfig, SecurityConfig, StoreConfig, UIConfig, UpstreamConfig
from llama_swap.net.loopback import leads_to_this_machine

PID = "${PID}"
"""Stands in `cmd_stop` for what is known when the model runs."""
COMFYUI_MODEL = "comfyui_auto"
"""The model that is served at `/comfyui/`, where browsers leave pages open that ask and ask."""
IF_ABSENT = "?"
"""Stands behind the path of a parameter that is put only into requests that have nothing there."""


@frozen(kw_only=True)
class Capabilities:
    """`capabilities` of a model, for those who ask."""

    in_: tuple[str, ...] = ()
    """What it reads: text, audio, image, video."""
    out: tuple[str, ...] = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0
    """In tokens; 0: not told."""
    disable_auto: bool = False
    """Without effect: servers are not asked what their models can do."""


@frozen(kw_only=True)
class Timeouts:
    """`timeouts` of a model or a peer, in seconds."""

    connect: float = 30.0
    response_header: float = 0.0
    """From the request to the head of the answer; 0: any."""
    tls_handshake: float = 10.0
    keepalive: float = 30.0
    """Of silence, until the server's machine is asked whether it is still there."""
    expect_continue: float = 1.0
    idle_conn: float = 90.0


@frozen(kw_only=True)
class Filters:
    """`filters` of a model or a peer.  Paths are names with dots between them: see `llama_swap.bodies.filters`."""

    strip_params: tuple[str, ...] = ()
    """Paths that are taken out of requests."""
    set_params: Mapping[str, Any] = field(factory=dict)
    """By path, what is put into them then; only where nothing stands there, if `IF_ABSENT` is behind the path."""
    set_params_by_id: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    """By the name that was asked for, or the peer's own name for the model, what is put in last."""


@frozen(kw_only=True)
class Compat:
    """`compat` of a model."""

    ignore_websockets: bool = False
    """Upgraded connections neither count as in flight, nor as use of the model."""


@frozen(kw_only=True)
class ModelConfig:
    """One entry of `models`, with macros expanded and defaults filled in."""

    id: str
    cmd: tuple[str, ...]
    """The argument vector; () for a model that cannot be started, since the file does not say how."""
    cmd_stop: tuple[str, ...] = ()
    """The argument vector of what stops it, with `PID` where the process id belongs; (): a signal does."""
    proxy: str
    """Base URL of the server that `cmd` starts, without a trailing slash."""
    port: int | None = field(default=None, eq=False)
    """What `${PORT}` stands for; None where the model does not use it.  Its other values have it already."""
    aliases: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict)
    """Added to the inherited environment."""
    check_endpoint: str | None = "/health"
    """Path that answers 200 once the model is ready; None: take it as ready when it listens."""
    ttl: int = 0
    """Unload after this long without a request; 0: never."""
    unload_timeout: int = 10
    """How long the process may take to leave after SIGTERM, before SIGKILL."""
    unlisted: bool = False
    use_model_name: str | None = None
    """The `model` that the upstream is told, instead of what the client wrote."""
    concurrency_limit: int = 10
    """Requests in flight, queued and waiting together; one more is refused with 429."""
    name: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = field(factory=dict)
    """Told to clients as it is."""
    capabilities: Capabilities = Capabilities()
    timeouts: Timeouts = Timeouts()
    disable_keep_alives: bool = False
    """Without effect: the pool finds out by itself what can be kept."""
    compat: Compat = Compat()
    filters: Filters | None = None
    """What is changed in the JSON of requests."""
    send_loading_state: bool = False
    """Whether streamed chats say at once that the model is being loaded."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where the server listens, one for all names of one address."""
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
    """Short names of models, to ids."""
    evict_costs: Mapping[str, int] = field(factory=dict)
    """What unloading a model costs; 1 for those that are not here."""
    sets: Mapping[str, str] = field(factory=dict)
    """Expressions by name, as written."""
    combinations: tuple[frozenset[str], ...] = ()
    """What these stand for: models that may run together, in the order of their definition."""


@frozen(kw_only=True)
class Routing:
    """Which models may run together, and whose requests go first."""

    groups: Mapping[str, Group] = field(factory=dict)
    """By name.  Models in none of them are a group of their own."""
    matrix: Matrix | None = None
    """Instead of groups."""
    priority: Mapping[str, int] = field(factory=dict)
    """By model; the higher goes first; 0 for those that are not here."""


@frozen(kw_only=True)
class Selector:
    """One entry of `selectors`: a name that stands for one of several models, chosen anew for each request."""

    strategy: str
    """`warm`, `pin` or `spillover`."""
    targets: tuple[str, ...]
    """What a request could name instead; the preferred one comes first."""
    spillover: int = 1
    """How many requests the targets in use have at a time, each of them, before the next one is woken."""
    name: str = ""
    description: str = ""
    unlisted: bool = False
    metadata: Mapping[str, Any] = field(factory=dict)
    """What clients are told about it, besides."""


@frozen(kw_only=True)
class Peer:
    """One entry of `peers`: another server, whose models can be asked for here."""

    proxy: str
    """Its base URL, without a trailing slash."""
    models: tuple[str, ...] | None = None
    """What it has; None: it is asked."""
    api_key: str | None = field(default=None, repr=False)
    """What it wants to be shown."""
    filters: Filters | None = None
    """What is changed in the JSON of requests."""
    timeouts: Timeouts = Timeouts(response_header=60.0)


@frozen(kw_only=True)
class PinProfile:
    """One entry of `profiles` with `pins`: what names stand for while it is the active one."""

    description: str = ""
    pins: Mapping[str, str | None] = field(factory=dict)
    """What else a request could name; None: the name is refused."""


@frozen(kw_only=True)
class Config:
    """A whole file."""

    models: Mapping[str, ModelConfig]
    """By id, in the order of the file."""
    profiles: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """List profiles: name to the ids of its members (aliases already resolved)."""
    pin_profiles: Mapping[str, PinProfile] = field(factory=dict)
    """The other kind of profiles, by name."""
    selectors: Mapping[str, Selector] = field(factory=dict)
    """By name."""
    peers: Mapping[str, Peer] = field(factory=dict)
    """By name."""
    routing: Routing = Routing()
    health_check_timeout: int = 120
    """How long a model may take from start to its first healthy answer."""
    log_requests: bool = False
    listen: str | None = None
    """`listen:` of the file; a flag wins over it."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys of which every client must show one; empty: nobody is asked."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may use the proxy besides those of this machine; `*` stands for all."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which the proxy may be addressed, besides those of this machine, if it listens only to that."""
    global_concurrency_limit: int = 0
    """Inferences under way, of all models and peers together; 0: any number."""
    security: SecurityConfig = field(factory=SecurityConfig)
    max_wait: float = 10.0
    """How long a queued request lets busier models go first."""
    max_request_body: int = 256 * 1024 * 1024
    read_ahead: bool = True
    """Whether the files of the next model are read into memory while the one before it stops."""
    metrics_max_in_memory: int = 1000
    """Entries of the activity, where there is no `store`."""
    capture_buffer: int = 5
    """Megabytes of requests and answers that are kept to be looked at."""
    log_level: str = "info"
    """debug, info, warn or error."""
    log_time_format: str = ""
    """The name of one of Go's layouts, in lower case; empty: our own."""
    log_to_stdout: str = "proxy"
    """Whose lines are printed: proxy, upstream, both or none."""
    include_aliases_in_list: bool = False
    upstream: UpstreamConfig = field(factory=UpstreamConfig)
    preload: tuple[str, ...] = ()
    """Ids of the models that are loaded at the start, one after the other."""
    startup_profile: str | None = None
    """Which of `pin_profiles` is the active one until somebody says otherwise."""
    store: StoreConfig = field(factory=StoreConfig)
    ui: UIConfig = field(factory=UIConfig)
    performance: PerformanceConfig = field(factory=PerformanceConfig)
