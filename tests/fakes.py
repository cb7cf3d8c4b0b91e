"""Stand-ins for what lies outside a room: models, their processes, their health, and whoever listens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from llama_swap.config.model import Config, ModelConfig, Routing
from llama_swap.errors import SwapError
from llama_swap.upstream.launcher import ExitStatus

FIRST_PORT = 9001


def make_model(name: str, port: int = FIRST_PORT, **more: Any) -> ModelConfig:
    """Return a model with this id; `more` goes into its fields."""
    return ModelConfig(**{"id": name, "cmd": ("llama-server",), "proxy": f"http://127.0.0.1:{port}", **more})


def make_config(
    names: Iterable[str], profiles: Mapping[str, str] | None = None, routing: Routing | None = None, **more: Any
) -> Config:
    """Return a configuration of models with these names, each at a port of its own, but "twin" at that before it.

    Members of profiles are written as words; `more` goes into the fields of every model.
    """
    ports = {name: FIRST_PORT + number - (name == "twin") for number, name in enumerate(names)}
    models = {name: make_model(name, port, **more) for name, port in ports.items()}
    members = {name: tuple(all_.split()) for name, all_ in (profiles or {}).items()}
    return Config(models=models, profiles=members, routing=routing or Routing())


@define(eq=False)
class FakeChild:
    """A launched model that leaves when the test says so."""

    model: ModelConfig
    _exited: Callable[[ExitStatus], None]
    _left: Callable[[], None]
    lives: bool = True
    """What `alive` answers."""
    output: str = ""
    asked: list[float | str] = field(factory=list)
    """The grace of each `stop`, and "kill" for each kill."""
    ended: bool = False
    gone: bool = False

    def stop(self, grace: float) -> None:
        self.asked.append(grace)

    def kill(self) -> None:
        self.asked.append("kill")

    def alive(self) -> bool:
        return self.lives

    def last_output(self) -> str:
        return self.output

    def end(self, code: int | None = 0, signal: int | None = None) -> None:
        """Exit, and leave something behind."""
        assert not self.ended, f"{self.model.id} has exited already"
        self.lives, self.ended = False, True
        self._exited(ExitStatus(code, signal))

    def be_gone(self) -> None:
        """Leave nothing behind."""
        assert not self.gone, f"{self.model.id} is gone already"
        self.gone = True
        self._left()

    def exit(self, code: int | None = 0, signal: int | None = None) -> None:
        """Exit, and be gone."""
        if not self.ended:
            self.end(code, signal)
        self.be_gone()


@define(eq=False)
class FakeLauncher:
    """Launches `FakeChild`ren, or refuses."""

    children: list[FakeChild] = field(factory=list)
    refusals: dict[str, Exception] = field(factory=dict)
    """What launching a model raises."""

    def launch(self, model: ModelConfig, ended: Callable[[ExitStatus], None], gone: Callable[[], None]) -> FakeChild:
        if model.id in self.refusals:
            raise self.refusals[model.id]
        child = FakeChild(model, ended, gone)
        self.children.append(child)
        return child

    def child(self, model: str) -> FakeChild:
        """Return the latest child of a model."""
        return next(child for child in reversed(self.children) if child.model.id == model)

    def launched(self) -> list[str]:
        """Return the models of all launches, in their order."""
        return [child.model.id for child in self.children]

    def running(self) -> list[str]:
        """Return the models that are not gone, in the order of their launch."""
        return [child.model.id for child in self.children if not child.gone]


@define
class FakeGuard:
    """Notes which process groups it is told of."""

    watched: list[int] = field(factory=list)
    forgotten: list[int] = field(factory=list)

    marks: Iterator[int] = field(factory=count)

    def mark(self) -> str:
        return f"fake-{os.getpid()}.{next(self.marks)}"

    def watch(self, group: int) -> None:
        self.watched.append(group)

    def forget(self, group: int) -> None:
        self.forgotten.append(group)


@define(eq=False)
class FakeReadiness:
    """Answers when the test says so; addresses are free at once unless `occupied`."""

    occupied: bool = False
    clearing: dict[str, Deferred[None]] = field(factory=dict)
    """The latest question of a model for its address."""
    probing: dict[str, Deferred[None]] = field(factory=dict)
    """The latest question of a model for its health."""
    cancelled: list[str] = field(factory=list)
    """Models whose question was cancelled."""

    def address_free(self, model: ModelConfig) -> Deferred[None]:
        question = self.clearing[model.id] = self._question(model)
        if not self.occupied:
            question.callback(None)
        return question

    def healthy(self, model: ModelConfig) -> Deferred[None]:
        question = self.probing[model.id] = self._question(model)
        return question

    def _question(self, model: ModelConfig) -> Deferred[None]:
        return Deferred(lambda _: self.cancelled.append(model.id))


@define(eq=False)
class FakeListener:
    """Notes what becomes of a model, and reacts as the test says."""

    heard: list[str | tuple[str, SwapError]] = field(factory=list)
    reactions: dict[str, Callable[[], object]] = field(factory=dict)
    """By the name of the event: what to do on hearing it, while it is still being told."""

    def ready(self, model: str) -> None:
        self._hear("ready", "ready")

    def failed(self, model: str, error: SwapError) -> None:
        self._hear("failed", ("failed", error))

    def ending(self, model: str, status: ExitStatus) -> None:
        self._hear("ending", "ending")

    def gone(self, model: str) -> None:
        self._hear("gone", "gone")

    def _hear(self, event: str, what: str | tuple[str, SwapError]) -> None:
        self.heard.append(what)
        if (react := self.reactions.get(event)) is not None:
            react()


@implementer(IStreamClientEndpoint)
@define(eq=False)
class FakeEndpoint:
    """Connections that succeed or fail when the test says so; notes each attempt."""

    attempts: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = field(factory=list)
    error_when_cancelled: Exception | None = None
    """What an attempt fails with that is cancelled, if not with a `CancelledError`."""

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting: Deferred[IProtocol] = Deferred(self._cancelled)
        self.attempts.append((factory, connecting))
        return connecting

    def _cancelled(self, connecting: Deferred[IProtocol]) -> None:
        if self.error_when_cancelled is not None:
            connecting.errback(self.error_when_cancelled)


class Inline:
    """Stands for a worker thread: does at once what it is given."""

    def __call__(self, function: Callable[[], Any]) -> Deferred[Any]:
        return maybeDeferred(function)
