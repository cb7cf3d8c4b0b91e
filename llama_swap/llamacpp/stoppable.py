"""Runs work that can be stopped at any moment, even during a call in which no Python code runs.

llama.cpp's server loads the model within one call that holds the GIL, so no Python signal handler runs until it
returns.  Its own shutdown waits up to 30 s for a running stream, and without limit for a plain answer.  A proxy that
swaps models cannot wait for either.  So the work is done in a child process, which can be killed, since it holds
nothing that the kernel does not reclaim; the parent only waits for signals.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

STOP = {signal.SIGTERM, signal.SIGINT}
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run_stoppable(work: Callable[[], int]) -> int:
    """Run `work` in a child process and return its exit status; 0 if SIGTERM or SIGINT has ended it.

    Only the parent returns; exceptions of `work` propagate in the child.  Must be called before any thread is started.

    @raise ChildProcessError: another signal has killed the child.
    """
    parent = os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        for number in STOP:
            signal.signal(number, signal.SIG_DFL)
        _die_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sys.exit(work())
    while True:
        if signal.sigwait(STOP | {signal.SIGCHLD}) in STOP:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 0
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if -code in STOP:  # the signal went to the whole process group, and reached the child first
        return 0
    raise ChildProcessError(f"killed by {signal.Signals(-code).name}")


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl
        os.kill(os.getpid(), signal.SIGKILL)
