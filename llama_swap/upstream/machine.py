"""The states of one model's process, and what each event means in them.

              start          address free           healthy
    stopped ────────▶ clearing ───────────▶ starting ─────────▶ ready
       ▲                 │ stop, cannot start  │ stop, unhealthy,  │ stop,
       ├◀────────────────┘                     │ ended             │ ended
       │          gone                         ▼                   ▼
       └◀───────────────────────────────── stopping ◀──────────────┘

Whether to start or stop is decided here, by the current state, never by a copy of it.  Every input returns None, so it
may arrive while another one is handled: automat then runs it right after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from attrs import define
from automat import TypeMachineBuilder
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import ModelConfig
from llama_swap.config.shell import wishes
from llama_swap.errors import StartFailed, SwapError
from llama_swap.upstream.launcher import Child, ExitStatus, Launcher


class Listener(Protocol):
    """Who is told what happens to a model.  Each start ends with one `gone`; `ready` or `failed` may come before."""

    def ready(self, model: str) -> None:
        """It has passed its health check."""

    def failed(self, model: str, error: SwapError) -> None:
        """It will not become ready; `gone` follows."""

    def ending(self, model: str, status: ExitStatus) -> None:
        """It was ready, and has ended by itself; `gone` follows."""

    def gone(self, model: str) -> None:
        """Nothing of it is left."""


class Readiness(Protocol):
    """How to find out that a model can start, and that it is ready.  Both Deferreds may be cancelled, and fail with
    SwapErrors."""

    def address_free(self, model: ModelConfig) -> Deferred[None]:
        """Fire when nobody listens at the address of `model`."""

    def healthy(self, model: ModelConfig) -> Deferred[None]:
        """Fire when `model` answers its health check."""


@define(eq=False)
class Core:
    """What the machine works with."""

    model: ModelConfig
    launcher: Launcher
    readiness: Readiness
    listener: Listener
    state: str = "stopped"
    """As `/running` shows it: stopped, starting, ready, or stopping, which lasts until no process is left, also after a
    crash."""
    child: Child | None = None
    """Set from launch until none of its processes is left."""

    _log: ClassVar[Logger] = Logger()

    def enter(self, state: str) -> None:
        """Show `state`, and log it."""
        self._log.info("{model}: {state}", model=self.model.id, state=state)
        self.state = state

    def end(self) -> None:
        """Ask the child to leave; it is killed after the model's `unload_timeout`."""
        assert self.child is not None, "a model that is stopping has a child"
        self.enter("stopping")
        self.child.stop(self.model.unload_timeout)

    def crashed(self, status: ExitStatus) -> None:
        """Log that the child ended by itself while it was ready."""
        self._log.warn("{model} ended by itself with {status}", model=self.model.id, status=status.unasked())
        self.state = "stopping"

    def failed(self, error: SwapError) -> None:
        """Log why the model will not become ready."""
        self._log.error("{error}", error=" | ".join(str(error).splitlines()))  # one line in the log

    def puzzled(self, failure: Failure) -> None:
        """Log an unexpected failure, with its traceback."""
        self._log.failure("{model} cannot start", failure, model=self.model.id)

    def gone(self) -> None:
        """Nothing is left."""
        self.child = None
        self.enter("stopped")
        self.listener.gone(self.model.id)


class Process(Protocol):
    """The inputs of the machine: the first two are for its owner, the others are events."""

    def start(self) -> None:
        """Be ready, soon."""

    def stop(self) -> None:
        """Stop: SIGTERM, and SIGKILL after the model's `unload_timeout`."""

    def address_free(self) -> None:
        """Nobody listens at the model's address."""

    def cannot_start(self, error: SwapError) -> None:
        """There is no process, and there will be none: the address is taken, or the launch failed."""

    def healthy(self) -> None:
        """The health check was answered."""

    def unhealthy(self, error: SwapError) -> None:
        """The health check was not answered in time."""

    def ended(self, status: ExitStatus) -> None:
        """The process has exited, asked or not.  Others of its group may still run."""

    def gone(self) -> None:
        """Nothing of it is left."""


def _build() -> Callable[[Core], Process]:  # noqa: C901, PLR0915 -- a table of transitions, not a path through code
    machine = TypeMachineBuilder(Process, Core)

    # The data of a state is what must be cancelled on leaving it.

    def clear(process: Process, core: Core) -> Deferred[None]:
        core.enter("starting")
        free = core.readiness.address_free(core.model)
        _report(core, free, process.address_free, process.cannot_start)
        return free

    def launch(process: Process, core: Core) -> Deferred[None]:
        try:
            core.child = child = core.launcher.launch(core.model, process.ended, process.gone)
        except Exception:  # noqa: BLE001 -- requests must not wait for ever for a process that is not there
            process.cannot_start(_explained(core, Failure()))
            return Deferred()
        answered = core.readiness.healthy(core.model)
        # If our own child is dead, a stranger answered; `ended` is about to arrive.
        _report(core, answered, lambda: process.healthy() if child.alive() else None, process.unhealthy)
        return answered

    stopped = machine.state("stopped")
    clearing = machine.state("clearing", clear)
    starting = machine.state("starting", launch)
    ready = machine.state("ready")
    stopping = machine.state("stopping")

    stopped.upon(Process.start).to(clearing).returns(None)
    stopped.upon(Process.stop).loop().returns(None)
    clearing.upon(Process.start).loop().returns(None)
    clearing.upon(Process.address_free).to(starting).returns(None)
    starting.upon(Process.start).loop().returns(None)
    ready.upon(Process.start).loop().returns(None)
    stopping.upon(Process.stop).loop().returns(None)
    stopping.upon(Process.healthy).loop().returns(None)
    stopping.upon(Process.ended).loop().returns(None)

    @clearing.upon(Process.stop).to(stopped)
    def not_needed(process: Process, core: Core, clearing: Deferred[None]) -> None:
        clearing.cancel()
        core.gone()

    @clearing.upon(Process.cannot_start).to(stopped)
    @starting.upon(Process.cannot_start).to(stopped)
    def not_launched(process: Process, core: Core, _: Deferred[None], error: SwapError) -> None:
        core.failed(error)
        core.listener.failed(core.model.id, error)
        core.gone()

    @starting.upon(Process.healthy).to(ready)
    def answers(process: Process, core: Core, _: Deferred[None]) -> None:
        core.enter("ready")
        core.listener.ready(core.model.id)

    @starting.upon(Process.unhealthy).to(stopping)
    def late(process: Process, core: Core, _: Deferred[None], error: SwapError) -> None:
        error = _with_reasons(core, error)
        core.failed(error)
        core.end()
        core.listener.failed(core.model.id, error)

    @starting.upon(Process.stop).to(stopping)
    def interrupted(process: Process, core: Core, probe: Deferred[None]) -> None:
        probe.cancel()
        core.end()

    @starting.upon(Process.ended).to(stopping)
    def died_young(process: Process, core: Core, probe: Deferred[None], status: ExitStatus) -> None:
        probe.cancel()
        why = _LEFT_ALONE if status.code == 0 else ""
        died = StartFailed(f"model {core.model.id} ended with {status.unasked()} before it was ready{why}")
        error = _with_reasons(core, died)
        core.failed(error)
        core.state = "stopping"
        core.listener.failed(core.model.id, error)

    @ready.upon(Process.stop).to(stopping)
    def unwanted(process: Process, core: Core) -> None:
        core.end()

    @ready.upon(Process.ended).to(stopping)
    def crashed(process: Process, core: Core, status: ExitStatus) -> None:
        core.crashed(status)
        core.listener.ending(core.model.id, status)

    @stopping.upon(Process.gone).to(stopped)
    def left(process: Process, core: Core) -> None:
        core.gone()

    return machine.build()


def _report(core: Core, watched: Deferred[None], done: Callable[[], None], failed: Callable[[SwapError], None]) -> None:
    """Tell the machine how `watched` ended, unless it was cancelled because its state was left."""

    def refused(failure: Failure) -> None:
        if not failure.check(CancelledError):
            failed(_explained(core, failure))

    watched.addCallbacks(lambda _: done(), refused)


def _explained(core: Core, failure: Failure) -> SwapError:
    """Return the error for users; an unexpected one is logged as well."""
    if isinstance(failure.value, SwapError):
        return failure.value
    core.puzzled(failure)
    return StartFailed(f"model {core.model.id} cannot start: {failure.getErrorMessage()}")


_LEFT_ALONE = ": `cmd` has to run for as long as its server does; leave out what sends that into the background (-d, &)"


def _with_reasons(core: Core, error: SwapError) -> SwapError:
    """Return `error` with what may explain it: syntax that needs a shell, and the child's last lines of output."""
    output = core.child.last_output() if core.child else ""
    said = f"its last output was:\n{output}" if output else "it printed nothing"
    error.args = ("; ".join([str(error), *_hints(core), said]),)
    return error


def _hints(core: Core) -> list[str]:
    """Return a hint if the command needs a shell.  Files are not checked: their disk may not answer."""
    try:
        return [*wishes(core.model.cmd)]
    except Exception:  # noqa: BLE001 - a defect in a hint must not hide that the start has failed
        core.puzzled(Failure())
        return []


new_process = _build()
"""Make the machine of one model, in the state stopped."""
