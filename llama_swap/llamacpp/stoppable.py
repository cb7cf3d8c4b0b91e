"""Stop at any moment, even inside a call that lets no Python code run.

llama.cpp's server loads the model inside one call that keeps Python's global lock, so no signal handler of
its process runs before that ends.  Its orderly stop is no better: it waits up to 30 s for a stream that is
being written, and for ever for a plain answer.  A proxy that swaps models cannot wait for either.  So the
work is done in a child process, which holds nothing that the kernel does not take back, and its parent does
nothing but wait for signals.
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
    """Run `work` in a child process and return its exit status, or 0 once TERM or INT has ended it.

    Only the parent returns.  What `work` raises takes its way up in the child.
    Call it before any thread exists.  Raises ChildProcessError if the child was killed by something else.
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
    if -code in STOP:  # sent to the whole process group, and the child was quicker
        return 0
    raise ChildProcessError(f"killed by {signal.Signals(-code).name}")


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), signal.SIGKILL)
