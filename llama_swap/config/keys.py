"""Every key of the file: its name, the kind of its value, and one sentence about it.

A new key is one line here, an attribute of the same name in `llama_swap.config.model` or `.sections`, an entry in
`docs/configuration.md` and `config.example.yaml`; the JSON Schema is made from this table.
"""

from __future__ import annotations

from typing import Final

from llama_swap.config.access import Hosts, Origins, Secrets
from llama_swap.config.fields import Elsewhere, Key, Nested
from llama_swap.config.kinds import Assignments, CheckPath, Choice, FilePath, Flag, ListenAddress, Section, Text
from llama_swap.config.model import Capabilities, Compat, Timeouts
from llama_swap.config.names import Headers, NameList
from llama_swap.config.quantities import Duration, Seconds, Size, Whole
from llama_swap.config.sections import (
    IGNORED_PATHS,
    METHODS,
    CorsConfig,
    PerformanceConfig,
    SecurityConfig,
    StoreConfig,
    UIActivityConfig,
    UIConfig,
    UpstreamConfig,
)
from llama_swap.config.values import Logs, Patterns, Values, Words

LOG_LEVELS: Final = ("debug", "info", "warn", "error")
TIME_FORMATS: Final = (
    *("ansic", "unixdate", "rubydate", "rfc822", "rfc822z", "rfc850", "rfc1123", "rfc1123z", "rfc3339", "rfc3339nano"),
    *("kitchen", "stamp", "stampmilli", "stampmicro", "stampnano"),
)
MODALITIES: Final = ("text", "audio", "image", "video")
_TEXTS: Final = {"type": ["object", "null"], "additionalProperties": Text().schema()}


def timeouts(response_header: float) -> Nested:
    """Return the kind of `timeouts`, with `response_header` seconds as the default of `responseHeader`."""
    table = (
        Key("connect", Seconds(30.0), "Time to connect; 0: any."),
        Key("responseHeader", Seconds(response_header), "Time from the request to the head of the answer; 0: any."),
        Key("tlsHandshake", Seconds(10.0), "Accepted, without effect: part of `connect`."),
        Key(
            "keepalive",
            Seconds(30.0),
            "Silence until the server's machine, if another, is asked for a sign; 0: 30 s.",
        ),
        Key("expectContinue", Seconds(1.0), "Accepted, without effect: bodies are sent at once."),
        Key("idleConn", Seconds(90.0), "Accepted, without effect: idle connections are closed within seconds."),
    )
    return Nested(table, Timeouts)


# fmt: off
_STORE: Final = (
    Key("path", FilePath(), "A file for the activity, so that it outlives llama-swap; none: kept in memory only."),
)

_ACTIVITY: Final = (
    Key("session_id", Headers(("X-Session-ID", "X-Litellm-Session-Id")), "Headers that name a client's session."),
)

_UI: Final = (Key("activity", Nested(_ACTIVITY, UIActivityConfig), "What is shown of the activity."),)

_PERFORMANCE: Final = (
    Key("disabled", Flag(), "Do not watch the hardware; there is no /metrics then."),
    Key("every", Duration(5.0, least=5.0), "How often the hardware is looked at, as in 5s or 1m30s."),
)

_UPSTREAM: Final = (
    Key("ignorePaths", Patterns(IGNORED_PATHS), "Paths, as regular expressions, for which no model is loaded."),
)

_CORS: Final = (
    Key("allowedOrigins", Origins(), "Origins of web pages that may use llama-swap, and read whatever it answers."),
    Key("allowCredentials", Flag(), "Whether those pages may send cookies and the like."),
    Key("allowPrivateNetwork", Flag(), "Whether those pages may reach a private network from the public one."),
    Key("allowedMethods", Words(METHODS, METHODS), "Methods that pages may use."),
    Key("allowedHeaders", Headers(()), "Headers that pages may send; none: those that they ask for."),
    Key("exposedHeaders", Headers(()), "Headers of answers that pages may read besides the usual ones."),
    Key("maxAge", Whole(86400, "seconds", zero_is_default=True), "How long browsers may remember all this."),
)

_SECURITY: Final = (Key("cors", Nested(_CORS, CorsConfig), "What the pages of other sites may do."),)

_CAPABILITIES: Final = (
    Key("in", Words(MODALITIES), "What it reads."),
    Key("out", Words(MODALITIES), "What it writes."),
    Key("tools", Flag(), "Whether it can call tools."),
    Key("reranker", Flag(), "Whether it ranks documents."),
    Key("context", Whole(0, "tokens"), "The size of its context; 0: not told."),
    Key("disableAuto", Flag(), "Accepted, without effect: nothing is told but what stands here."),
)

_COMPAT: Final = (
    Key("ignoreWebsockets", Flag(), "Whether open WebSockets are neither requests in flight nor use of the model."),
)

TOP: Final = (
    Key("models", Section({}), "The models, by the name that requests use."),
    Key("profiles", Section({}), "Models that run side by side, as lists; or pins: other meanings of names."),
    Key("selectors", Section({}), "Names that stand for one of several models, chosen anew for each request."),
    Key("peers", Section({}), "Other servers, whose models can be asked for here."),
    Key("groups", Section({}), "Models that take turns or run side by side, and what their loading unloads."),
    Key("matrix", Section({}), "Instead of groups: all the combinations of models that may run together."),
    Key("routing", Section({}), "The same and more, in a newer form."),
    Key("macros", Section(_TEXTS), "Texts to use as ${name} in the values of this file."),
    Key("healthCheckTimeout", Whole(120, "seconds", raise_to=15), "How long a model may take to become ready."),
    Key("maxWait", Seconds(10.0), "How long a queued request lets other requests keep models busy."),
    Key("globalTTL", Whole(0, "seconds"), "Unload models after this long without a request; 0: never."),
    Key("unloadTimeout", Whole(10, "seconds", zero_is_default=True), "Time from SIGTERM to SIGKILL."),
    Key("globalConcurrencyLimit", Whole(0, "requests"), "Inferences of all models together, waiting ones too; 0: any."),
    Key("startPort", Whole(5800, least=1, most=65535), "The first port that ${PORT} gives."),
    Key("listen", ListenAddress(), "Where to listen, unless the command line says so."),
    Key("maxRequestBody", Size(256 * 1024 * 1024), "The largest request body, in bytes or as 64M."),
    Key("readAhead", Flag(default=True), "Read the next model's files into memory while the one before it stops."),
    Key("logRequests", Flag(), "Write one line for each request to the log."),
    Key("apiKeys", Secrets(), "Keys of which clients must show one; none: everybody may come in."),
    Key("allowedOrigins", Origins(), "Origins of web pages that may use llama-swap, such as https://chat.example."),
    Key("allowedHosts", Hosts(), "Names by which browsers may address a llama-swap that listens on loopback only."),
    Key("security", Nested(_SECURITY, SecurityConfig), "Who may do what by way of a browser."),
    Key("metricsMaxInMemory", Whole(1000, "entries", raise_to=0, zero_is_default=True), "Activity in memory."),
    Key("captureBuffer", Whole(5, "MB", most=4096, raise_to=0), "Memory for whole requests and answers; 0: none."),
    Key("store", Nested(_STORE, StoreConfig), "Where the activity is kept."),
    Key("performance", Nested(_PERFORMANCE, PerformanceConfig), "How the hardware is watched."),
    Key("ui", Nested(_UI, UIConfig), "What observers are shown."),
    Key("logLevel", Choice(LOG_LEVELS, "info", is_lenient=True), "The least important of our own lines."),
    Key("logTimeFormat", Choice(TIME_FORMATS, "", is_lenient=True), "How their times are written."),
    Key("logToStdout", Logs(), "Whose lines are printed; /logs has all of them anyway."),
    Key("includeAliasesInList", Flag(), "Whether /v1/models lists aliases as well."),
    Key("upstream", Nested(_UPSTREAM, UpstreamConfig), "How requests below /upstream/ are treated."),
    Key("hooks", Section({}), "What happens by itself."),
    Key("sendLoadingState", Flag(), "Whether streamed chats say at once that their model is being loaded."),
)

MODEL: Final = (
    Key("cmd", Section({"type": "string", "minLength": 1}), "The command that starts the model's server."),
    Key("cmdStop", Section({"type": ["string", "null"]}), "The command that stops it, instead of SIGTERM."),
    Key("proxy", Section({"type": ["string", "null"]}), "The URL where that server is reached."),
    Key("aliases", NameList(), "Other names for this model."),
    Key("env", Assignments(), "Environment variables for the command, as NAME=value."),
    Key("checkEndpoint", CheckPath(), "The path that answers 200 once the model is ready, or none."),
    Key("ttl", Whole(-1, "seconds", least=-1), "Unload when idle for this long; 0: never, -1: globalTTL."),
    Key("unloadTimeout", Whole(0, "seconds"), "Time from SIGTERM to SIGKILL; 0: the global unloadTimeout."),
    Key("unlisted", Flag(), "Leave this model out of the lists of models."),
    Key("useModelName", Text(None), "The model name that the server is told."),
    Key("concurrencyLimit", Whole(10, "requests", raise_to=0, zero_is_default=True), "Requests, waiting ones too."),
    Key("name", Text(), "A name for people to read."),
    Key("description", Text(), "A text for people to read."),
    Key("macros", Section(_TEXTS), "Macros of this model; they win over global ones."),
    Key("metadata", Values(), "Whatever clients are to be told about the model."),
    Key("capabilities", Nested(_CAPABILITIES, Capabilities), "What the model can do, for clients that ask."),
    Key("timeouts", timeouts(response_header=0.0), "How long the model's server may take."),
    Key("disableKeepAlives", Flag(), "Accepted, without effect: the pool knows what can be kept."),
    Key("compat", Nested(_COMPAT, Compat), "Exceptions for servers that need them."),
    Key("filters", Section({"type": ["object", "null"]}), "What is taken out of requests, and put in."),
    Key("sendLoadingState", Flag(None), "The same for this model; none: as at the top level."),
)
# fmt: on

IN_MODELS: Final = Elsewhere(MODEL, "inside a model", is_inside=True)
AT_TOP: Final = Elsewhere(TOP, "at the top level, beside `models`")
