"""Programs without a shell, each the leader of a session and a process group of its own.

`setsid` (util-linux) makes the program lead them, and is replaced by it: the pid stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from llama_swap.errors import StartFailed
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.needs import program_for, why_no_program

LEADER = "setsid"
"""The program that makes another one the leader of a session and group."""
OUTPUT_PATIENCE = 0.25
"""Seconds for which the pipes of an exited process may stay open, held by another process, until we stop reading."""


def spawn(
    reactor: IReactorProcess, protocol: ProcessProtocol, argv: Sequence[str], environ: Mapping[str, str], key: str
) -> None:
    """Run `argv`, which the configuration has under `key`, with pipes for its output.

    @raise StartFailed: it cannot be run; the message says why, for the end of a sentence.
    """
    if not argv:
        raise StartFailed(f"there is no command ({key}). Write one")
    # The model's own `PATH` is for what it starts; its program is looked up there only if it is not on ours.
    program = program_for(argv, environ.get("PATH", os.defpath))
    if program is None:
        raise StartFailed(f"{why_no_program(argv)} ({key})")
    try:
        reactor.spawnProcess(
            protocol,
            LEADER,
            [LEADER, program, *argv[1:]],
            env=dict(environ),
            childFDs={0: "w", 1: "r", 2: "r"},
        )
    except (OSError, ValueError) as error:  # ValueError: for example a null byte
        raise StartFailed(f"{LEADER} {program}: {error}") from error


def status_of(reason: Failure) -> ExitStatus:
    """Return how a process ended, from Twisted's reason."""
    if isinstance(reason.value, ProcessTerminated):
        return ExitStatus(code=reason.value.exitCode, signal=reason.value.signal)
    return ExitStatus(code=0)
