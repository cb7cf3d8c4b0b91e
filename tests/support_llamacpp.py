"""The embedded llama.cpp with the demo's model: a real server for the tests that need one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from twisted.trial.unittest import FailTest, SkipTest

from llama_swap.errors import SwapError
from llama_swap.llamacpp.demo_files import cache_directory, fetch_model
from tests.support_client import Answer, ask
from tests.support_processes import free_port, wait_until

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "llama_swap.llamacpp.server")


def fetched_model() -> Path:
    """Return the path of the demo's model, fetching it first if need be.

    Where it cannot be had, or llama.cpp is not installed, the test is skipped; with CI=true it fails.
    """
    if find_spec("xllamacpp") is None:
        do_without("llama.cpp is not installed; try: pip install -e '.[llamacpp]'")
    try:
        return fetch_model(cache_directory(os.environ))
    except SwapError as error:
        do_without(str(error))


def do_without(why: str) -> NoReturn:
    """Skip the test, or fail it with CI=true, so that nothing goes untested there unseen."""
    raise FailTest(why) if os.environ.get("CI") == "true" else SkipTest(why)


def environment() -> dict[str, str]:
    """Return the environment in which a child finds this project."""
    return {**os.environ, "PYTHONPATH": os.fspath(ROOT)}


def run_server(*flags: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as for a command line that it must refuse."""
    return subprocess.run(
        [*COMMAND, *flags], env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


class ServerUnderTest:
    """A running `llama-swap-llamacpp`; leaving the `with` block ends it by force if it still runs."""

    def __init__(self, *flags: str, wait: bool = True) -> None:
        self.port = free_port()
        self._flags = (*COMMAND, "-m", os.fspath(fetched_model()), "--port", str(self.port), "-t", "1", *flags)
        self._wait = wait

    def __enter__(self) -> ServerUnderTest:
        self._log = tempfile.NamedTemporaryFile(prefix="llamacpp-")
        self.process = subprocess.Popen(self._flags, env=environment(), stderr=self._log, start_new_session=True)
        if self._wait:
            wait_until(self._healthy, 60, "a healthy llama.cpp")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def _healthy(self) -> bool:
        assert self.process.poll() is None, f"llama.cpp has ended:\n{self.log()}"
        try:
            return self.ask("GET", "/health").status == 200
        except ConnectionError:
            return False

    def log(self) -> str:
        """Return what it has printed so far."""
        return Path(self._log.name).read_text(errors="replace")

    def wait_for_log(self, text: str, timeout: float = 20) -> None:
        """Wait until it has printed the text."""
        wait_until(lambda: text in self.log(), timeout, f"«{text}» in llama.cpp's log")

    def ask(self, method: str, target: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Return the whole answer to a request."""
        return ask(self.port, method, target, body, None, 60)
