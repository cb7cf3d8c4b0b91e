"""Records requests that are over: as entries of the activity, as captures, and in counts.

That is done for many requests together, a moment later.  One by one it would cost three times as much, because each
time its code and data would have left the processor's cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from llama_swap.metrics.captures import Captures, Recording, without_chunks
from llama_swap.metrics.codings import unpacked
from llama_swap.metrics.headers import Content, Fields, RequestFacts, content_of, is_unreadable
from llama_swap.metrics.inflight import ENDS, InFlightRequest
from llama_swap.metrics.log import ActivityLog
from llama_swap.metrics.tallies import Tallies
from llama_swap.metrics.tokens import NOTHING_KNOWN, Counts, read_tokens

BATCH = 32
"""The most requests that are settled together: of more, the first would have left the processor's cache by then."""
HEAVY = 1024 * 1024
"""The most bytes of requests and answers that wait to be settled together.  It also bounds how much is decompressed in
one turn, except for one answer more."""
LEAST = HEAVY // BATCH
"""Bytes that each request counts for in addition, so that `BATCH` small ones reach `HEAVY`."""
SOON = 0.2
"""The most seconds that a request waits to be settled together with others."""
SESSION = "session_id"
"""The only metadata that clients send in headers."""
LONGEST_SESSION = 256
"""Bytes of a session's id; what follows is not kept, since there may be many entries, each with another one."""
CONTENT_TYPE = b"content-type"


class ActivityRecorder:
    """Records finished inferences (see `llama_swap.metrics.inflight.Recorder`).

    `epoch` returns what to add to times of the clock for seconds since 1970; it changes when the system's time is set.
    `session_headers` are names of headers; the first of these that a request has names its session.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        activity: ActivityLog,
        captures: Captures,
        tallies: Tallies,
        clock: IReactorTime,
        session_headers: Iterable[str],
        *,
        epoch: Callable[[], float],
    ) -> None:
        self._activity = activity
        self._captures = captures
        self._tallies = tallies
        self._clock = clock
        self._epoch = epoch
        # What fields say, by the identity of the fields, which are kept beside it: most requests have the same few.
        self._known_facts: dict[int, tuple[Fields, RequestFacts]] = {}
        self._contents: dict[int, tuple[Fields, Content]] = {}
        self.follow(session_headers)
        self._over: list[InFlightRequest] = []
        self._weight = 0
        self._unpacked = 0
        self._timer: IDelayedCall | None = None

    def follow(self, session_headers: Iterable[str]) -> None:
        """Use these headers from now on."""
        self._session_headers = tuple(name.lower().encode() for name in session_headers)
        self._lengths = frozenset(map(len, (CONTENT_TYPE, *self._session_headers)))
        self._known_facts.clear()

    def recording(self, request: InFlightRequest) -> Recording | None:
        """See `Recorder.recording`."""
        wanted = request.metered and content_of(request.answer_fields).is_readable
        return self._captures.recording() if wanted else None

    def record(self, request: InFlightRequest) -> None:
        """See `Recorder.record`."""
        if request.metered:
            self._over.append(request)
            self._weight = weight = self._weight + LEAST + request.size + len(request.body or b"")
            if weight >= HEAVY:
                self._settle()
            elif self._timer is None:
                self._timer = self._clock.callLater(SOON, self._settle_in_time)

    def settle(self) -> None:
        """Settle all requests that are over."""
        while self._over:
            self._settle()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle_in_time(self) -> None:
        self._timer = None
        self._settle()

    def _settle(self) -> None:
        over, self._over, self._weight, self._unpacked = iter(self._over), [], 0, 0
        settled: list[InFlightRequest] = []
        epoch = self._epoch()
        for known in (self._known_facts, self._contents):
            if len(known) > BATCH:
                known.clear()
        for request in over:
            try:
                self._look_at(request)
            except Exception:  # noqa: BLE001 -- the other requests must get their entries nevertheless
                self._log.failure("cannot record a request to {model}", model=request.model)
            else:
                request.epoch = epoch
                settled.append(request)
            if self._unpacked > HEAVY:
                self._put_off(over)
        self._activity.add(settled)
        self._captures.store(settled)
        by_model: dict[str, list[InFlightRequest]] = defaultdict(list)
        for request in settled:
            by_model[request.counted_as].append(request)
        for model, requests in by_model.items():
            self._tallies[model].count(requests)

    def _put_off(self, over: Iterator[InFlightRequest]) -> None:
        """Leave the others to the next turn: compressed answers grow when they are decompressed."""
        self._over = list(over)
        if self._over and self._timer is None:
            self._timer = self._clock.callLater(0, self._settle_in_time)

    def _look_at(self, request: InFlightRequest) -> None:
        """Fill in the attributes of a request that are only known once it is settled."""
        fields, answer_fields = request.fields, request.answer_fields
        known = self._known_facts.get(id(fields))
        if known is None:
            known = self._known_facts[id(fields)] = fields, self._facts(fields)
        request.facts = facts = known[1]
        answer_known = self._contents.get(id(answer_fields))
        if answer_known is None:
            answer_known = self._contents[id(answer_fields)] = answer_fields, content_of(answer_fields)
        request.content = content = answer_known[1]
        first, last = request.take_answer()
        if not first:
            request.tokens = NOTHING_KNOWN
        elif content.coding:
            request.tokens = self._tokens_of_packed(request)
        else:
            request.tokens = read_tokens(first, last, request.chunked)
        if not facts.is_readable:
            request.body = None
        if not content.is_readable:
            request.answer = b""
        if not request.status and request.error is not None:
            request.status = request.error.status

    def _tokens_of_packed(self, request: InFlightRequest) -> Counts:
        """Return the tokens of a compressed answer, if all of it was kept: its end alone cannot be decompressed."""
        answer = request.answer or b""
        content = unpacked(without_chunks(answer) if request.chunked else answer, request.content.coding) or b""
        self._unpacked += len(content)
        return read_tokens(content[:ENDS], content[-ENDS:], chunked=False)

    def metadata(self, request: InFlightRequest) -> dict[str, str]:
        """See `Recorder.metadata`."""
        return self._facts(request.fields).metadata

    def _facts(self, fields: Fields) -> RequestFacts:
        size = 0
        named: dict[bytes, bytes] = {}
        for name, value in fields:
            size += len(name) + len(value)
            if len(name) in self._lengths:  # rules out most of them
                named.setdefault(name.lower(), value)
        session = next((value for name in self._session_headers if (value := named.get(name, b""))), b"")
        metadata = {SESSION: session[:LONGEST_SESSION].decode("latin-1")} if session else {}
        return RequestFacts(not is_unreadable(named.get(CONTENT_TYPE, b"")), metadata, size)
