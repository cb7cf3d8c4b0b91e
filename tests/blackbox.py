"""The whole program under test, from outside: a proxy in a process of its own with fake models behind it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.support_client import Answer, Body, Stream, ask, send
from tests.support_processes import Journal, carrying, command_line, free_port, wait_until

HERE = Path(__file__).parent
ROOT = HERE.parent
FAKELLM = shlex.join([sys.executable, "-ES", str(HERE / "fakellm.py")])
CONSOLE = [sys.executable, "-m", "llama_swap.cli"]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "llama-swap"]
IN_TERMINAL = ("env", "--default-signal=HUP", "setsid", "--ctty")  # also if the tests are run with nohup
MARK = "LLAMA_SWAP_TEST_RUN"
LISTENING = re.compile(r"llama-swap listening on https?://127\.0\.0\.1:(\d+)")


def fake_model(name: str, knobs: str = "", /, *, port: int | None = None, **config: Any) -> dict[str, Any]:
    """Return an entry of `models` that starts fakellm with these knobs; `config` adds or replaces keys."""
    port = port or free_port()
    cmd = f"{FAKELLM} --port {port} --model {shlex.quote(name)} {knobs}"
    return {"cmd": cmd, "proxy": f"http://127.0.0.1:{port}", **config}


def fake_models(*names: str, **config: Any) -> dict[str, Any]:
    """Return a configuration with well-behaved fake models of these names; `config` adds top-level keys."""
    return {"models": {name: fake_model(name) for name in names}, **config}


def tested_environment(**more: str) -> dict[str, str]:
    """Return the environment for a process that is to find this project and no settings of the caller."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "CI") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def run_proxy(*args: str, timeout: float = 20, twistd: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, as for a configuration that it must refuse."""
    return subprocess.run(
        [*(TWISTD if twistd else CONSOLE), *args],
        env=tested_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class ProxyUnderTest:
    """A running proxy; leaving the `with` block ends it and checks that it leaves nothing behind.

    `config` is YAML text, or a mapping (written as JSON, which is YAML); `options` go to the command line.  It is run
    in a `terminal`, which is its stdin, or in none, and by the command `within`, if there is one.  twistd works in
    `rundir`, if that is given.
    Checked at the end: exit status 0 within 35 s of SIGTERM, no process alive that it or its models started, no
    traceback in what it printed.
    """

    def __init__(
        self,
        config: str | Mapping[str, Any],
        *options: str,
        env: Mapping[str, str] | None = None,
        twistd: bool = False,
        rundir: str | None = None,
        terminal: int | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self._config = config if isinstance(config, str) else json.dumps(config, indent=1)
        self._options = options
        self._env = dict(env or {})
        self._twistd = twistd
        self._rundir = rundir
        self._terminal = terminal
        self._within = (*(IN_TERMINAL if terminal is not None else ()), *within)
        self._mark = uuid.uuid4().hex
        self._killed = False
        self.port = 0

    def __enter__(self) -> ProxyUnderTest:
        self.directory = Path(tempfile.mkdtemp(prefix="llama-swap-test-"))
        self.config_path = self.directory / "config.yaml"
        self.config_path.write_text(self._config)
        self.log_path = self.directory / "log"
        self.journal = Journal(self.directory / "journal")
        extra = {"FAKELLM_JOURNAL": str(self.journal.path), MARK: self._mark, **self._env}
        door = TWISTD if self._twistd else CONSOLE
        if self._rundir is not None:
            door = [*TWISTD[:-1], "--rundir", self._rundir, TWISTD[-1]]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._within, *door, "--config", self.config_path, "--listen", "127.0.0.1:0", *self._options],
                cwd=self.directory,
                env=tested_environment(**extra),
                stdin=subprocess.DEVNULL if self._terminal is None else self._terminal,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        try:
            self.port = int(wait_until(self._listening, 60, "the listening line").group(1))
        except BaseException as error:
            printed = self.log()
            self._sweep()
            raise AssertionError(f"{error}\n{printed}") from error
        return self

    def _listening(self) -> re.Match[str] | None:
        status = self._process.poll()
        assert status is None, f"the proxy has exited with {status}"
        return LISTENING.search(self.log())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._check_end()
        except AssertionError as failed:
            error = failed
        finally:
            log = self.log()
            self._sweep()
        if error is not None and not isinstance(error, SkipTest):
            # trial shows no notes, so the proxy's side of the story becomes part of the message.
            name = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            raise AssertionError(f"{name}{error}\n--- the proxy's log:\n{log[-6000:]}") from error

    def _check_end(self) -> None:
        if self._killed:  # whoever ends its models has only just heard of it
            wait_until(lambda: not self.survivors(), 5, "the end of the killed proxy's models")
        else:
            self.stop()
        left = {pid: command_line(pid) for pid in self.survivors()}
        assert not left, f"left behind: {left}"
        for sign in ("Traceback", "Unhandled"):
            assert sign not in self.log(), f"«{sign}» in the log"

    def _sweep(self) -> None:
        """Kill whatever is left of this test, and only that."""
        while left := self.survivors():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
        self._process.wait()
        shutil.rmtree(self.directory)

    # Its life.

    def send_signal(self, number: int) -> None:
        """Send a signal to the proxy's process, and to no other."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the proxy by force; its models have to notice."""
        self._killed = True
        self._process.kill()
        self._process.wait()

    def wait(self, timeout: float = 35) -> int:
        """Return the exit status, once the proxy has ended."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {timeout} s") from None

    def stop(self, number: int = signal.SIGTERM, timeout: float = 35) -> float:
        """End the proxy with a signal; return the seconds it took.  AssertionError unless it exits with 0."""
        began = time.monotonic()
        if self._process.poll() is None:
            self.send_signal(number)
        status = self.wait(timeout)
        assert status == 0, f"exit status {status}"
        return time.monotonic() - began

    def survivors(self) -> set[int]:
        """Return the living processes of this test, known by the environment that they inherited."""
        return set(carrying(MARK, self._mark))

    def log(self) -> str:
        """Return what the proxy has printed so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, text: str, timeout: float = 5) -> None:
        """Wait until the proxy has printed the text."""
        wait_until(lambda: text in self.log(), timeout, f"«{text}» in the log")

    # Its clients.

    def ask(
        self,
        method: str,
        target: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 30,
    ) -> Answer:
        """Return the whole answer to any request."""
        return ask(self.port, method, target, body, headers, timeout)

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the whole answer to a GET."""
        return self.ask("GET", target, None, headers)

    def post(self, target: str, body: Body, *, timeout: float = 30) -> Answer:
        """POST a mapping as JSON, or bytes as they are."""
        return self.ask("POST", target, body, timeout=timeout)

    def chat(self, model: str, *, timeout: float = 30) -> Answer:
        """Ask a model the usual way."""
        question = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        return self.post("/v1/chat/completions", question, timeout=timeout)

    def served(self, model: str) -> str:
        """Chat with a model and return the fake model's own name; AssertionError unless 200."""
        answer = self.chat(model)
        assert answer.status == http.client.OK, f"{model}: {answer.status} {answer.body[:500]!r}"
        return str(answer.json()["served_by"])

    def stream(self, model: str) -> Stream:
        """Ask for a streamed chat."""
        question = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        return self.posting("/v1/chat/completions", question)

    def posting(self, target: str, body: Body) -> Stream:
        """POST, and return an answer that is read while it comes."""
        return Stream(*send(self.port, "POST", target, body))

    def reading(self, target: str) -> Stream:
        """GET an answer that is read while it comes, such as `/logs/stream`."""
        return Stream(*send(self.port, "GET", target))

    def running(self) -> dict[str, str]:
        """Return the state of each running model, as `/running` tells it."""
        return {entry["model"]: entry["state"] for entry in self.get("/running").json()["running"]}

    def hanging_up(self, model: str) -> http.client.HTTPConnection:
        """Send a chat and return the connection, without waiting for an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = json.dumps({"model": model, "messages": []}).encode()
        connection.request("POST", "/v1/chat/completions", content, {"Content-Type": "application/json"})
        return connection
