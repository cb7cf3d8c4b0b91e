"""Who is measured: each peer is a proxy on a port of its own, in front of the same C upstream."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import procfs

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench"
START_PATIENCE = 180.0
CHAT = "/v1/chat/completions"
PROGRAM = ("-m", "llama_swap.cli")
"""This project's console script, as arguments of Python."""


class CannotMeasureError(Exception):
    """A peer cannot be started, or does not answer as it should; `str()` says why."""


@dataclass(frozen=True)
class Peer:
    """A proxy that runs, and has answered its first request."""

    name: str
    port: int
    pid: int | None
    """Whose CPU time and memory count; None: there is no proxy."""
    start_ms: float
    """From the start of the process to its first 200, without the load of a model."""
    start_mb: float
    """What it occupied then; with one model loaded, where that is its trade."""
    pulse_path: str = "/health"
    """A GET that the proxy answers at once."""
    slow: bool = False
    """Whether the heaviest loads would take minutes, and are left out."""

    @property
    def proxy_pid(self) -> int:
        """As `pid`, where there must be one."""
        assert self.pid is not None, f"{self.name} is no proxy"
        return self.pid


Factory = Callable[[], AbstractContextManager[Peer]]


def factories(upstream: int, trees: Sequence[Path]) -> dict[str, Factory]:
    """Return how to start each peer that this machine has: all in front of the port `upstream`, but ours and the
    checkouts in `trees`, which start an upstream of their own, as is their trade."""
    found: dict[str, Factory] = {"direct": partial(direct, upstream)}
    if shutil.which("nginx"):
        found["nginx"] = partial(nginx, upstream)
    found["ours"] = partial(llama_swap, ROOT)
    for tree in trees:
        found[tree.resolve().name] = partial(llama_swap, tree.resolve())
    if litellm_program() is not None:
        found["litellm"] = partial(litellm, upstream)
    return found


@contextmanager
def upstream_alone() -> Iterator[int]:
    """Run the C upstream; yields its port."""
    port = free_port()
    with _running("upstream", [str(BUILD / "upstream"), "--port", str(port)]) as process:
        _until_answered(process, port, "/health")
        yield port


@contextmanager
def direct(upstream: int) -> Iterator[Peer]:
    """No proxy at all: what the load generators and the upstream can do."""
    yield Peer("direct", upstream, None, 0.0, 0.0)


@contextmanager
def nginx(upstream: int) -> Iterator[Peer]:
    """nginx with one worker, set up for streams as its users do it."""
    port, home = free_port(), BUILD / "nginx"
    (home / "logs").mkdir(parents=True, exist_ok=True)
    config = home / "nginx.conf"
    config.write_text(_NGINX.format(home=home, port=port, upstream=upstream, user="user root;" * (os.getuid() == 0)))
    command = ["nginx", "-p", str(home), "-c", str(config), "-e", str(home / "logs" / "error.log")]
    began = time.monotonic()
    with _running("nginx", command) as process:
        _until_answered(process, port, "/health")
        start_ms = (time.monotonic() - began) * 1e3
        _check_chat(port)
        [worker] = procfs.children(process.pid)
        yield Peer("nginx", port, worker, start_ms, procfs.resident_mb(worker))


@contextmanager
def llama_swap(tree: Path = ROOT, models: int = 1, program: Sequence[str] = PROGRAM) -> Iterator[Peer]:
    """This project, as it is in the checkout `tree`, with so many models configured and one of them loaded."""
    name = "ours" if tree == ROOT else tree.name
    config = BUILD / f"{name}-{models}.yaml"
    # The model in use is the last one, so that a search from the front would show.
    names = [*(f"idle-{number}" for number in range(models - 1)), "bench"]
    entries = "".join(_MODEL.format(name=each, program=BUILD / "upstream") for each in names)
    config.write_text(f"startPort: {free_port()}\nmodels:\n{entries}")
    with llama_swap_with(config, name, tree, program) as peer:
        _check_chat(peer.port)
        yield replace(peer, start_mb=procfs.resident_mb(peer.proxy_pid))


@contextmanager
def llama_swap_with(
    config: Path, name: str = "ours", tree: Path = ROOT, program: Sequence[str] = PROGRAM
) -> Iterator[Peer]:
    """This project with a configuration file, and no model loaded."""
    port = free_port()
    command = [sys.executable, *program, "--config", str(config), "--listen", f"127.0.0.1:{port}"]
    began = time.monotonic()
    with _running(config.stem, command, {**os.environ, "PYTHONPATH": str(tree)}, tree) as process:
        _until_answered(process, port, "/health")
        start_ms = (time.monotonic() - began) * 1e3
        yield Peer(name, port, process.pid, start_ms, procfs.resident_mb(process.pid))


@contextmanager
def litellm(upstream: int) -> Iterator[Peer]:
    """LiteLLM's proxy with one worker."""
    port, config = free_port(), BUILD / "litellm.yaml"
    config.write_text(_LITELLM.format(upstream=upstream))
    program = litellm_program()
    assert program is not None, "looked for before"
    environ = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it would fetch a table of prices from elsewhere
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # nobody else checks keys here
        "LITELLM_LOG": "ERROR",
    }
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    began = time.monotonic()
    with _running("litellm", command, environ) as process:
        _until_answered(process, port, "/health/liveliness")
        start_ms = (time.monotonic() - began) * 1e3
        _check_chat(port)
        yield Peer(
            "litellm",
            port,
            process.pid,
            start_ms,
            procfs.resident_mb(process.pid),
            "/health/liveliness",
            slow=True,
        )


def litellm_program() -> Path | None:
    """Return LiteLLM's command: from the environment $LITELLM_VENV, or wherever it is found."""
    venv = os.environ.get("LITELLM_VENV")
    found = shutil.which("litellm", path=f"{venv}/bin" if venv else None)
    return Path(found) if found else None


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    name: str, command: Sequence[str], environ: Mapping[str, str] | None = None, directory: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, its output in build/bench/NAME.log, and end it."""
    with (BUILD / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, cwd=directory
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_answered(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    """GET a path until the answer is 200.

    @raise CannotMeasureError: the program left, or did not answer in time.
    """
    deadline, status = time.monotonic() + START_PATIENCE, 0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            status = _status(port, "GET", path)
        except OSError:
            time.sleep(0.002)
            continue
        if status == 200:
            return
        time.sleep(0.05)
    raise CannotMeasureError(f"{process.args!r} gave no 200 for GET {path}, but {status}; see {BUILD}/*.log")


def _check_chat(port: int) -> None:
    """See that chat requests are served: a benchmark of errors would look good."""
    status = _status(port, "POST", CHAT, b'{"model":"bench","messages":[{"role":"user","content":"Hello."}]}')
    if status != 200:
        raise CannotMeasureError(f"POST {CHAT} on port {port} was answered {status}; see {BUILD}/*.log")


def _status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=START_PATIENCE)) as connection:
        connection.request(method, path, body, headers)
        return connection.getresponse().status


_MODEL = """\
  {name}:
    cmd: {program} --port ${{PORT}}
    proxy: http://127.0.0.1:${{PORT}}
    concurrencyLimit: 4096
"""

_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {home}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_max_body_size 0;
    keepalive_requests 100000000;
    upstream model {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

_LITELLM = """\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
"""
