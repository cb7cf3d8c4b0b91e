"""`make demo`: the proxy with two real models, on any machine that has Python, within a minute.

The configuration is examples/demo.yaml; this module fetches the model file that it names, and prints what to try.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from llama_swap.errors import SwapError
from llama_swap.llamacpp.demo_files import cache_directory, fetch_model, fetch_openmp, lacks_openmp

HOST = "127.0.0.1"
USUAL_PORT = 8080
USUAL_MODEL_PORTS = 5800
MODELS = 2

GREETING = """\

Two models are configured, and one of them runs at a time.  Try, in another terminal:

  curl -s {url}/v1/chat/completions \\
    -d '{{"model": "smol", "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'
  curl -s {url}/v1/chat/completions \\
    -d '{{"model": "poet", "messages": [{{"role": "user", "content": "Write one line about rain."}}]}}'
  curl -Ns {url}/logs/stream

The first starts a model, the second swaps it for the other, the third follows the log; {url}
shows all of that in a browser.  Ctrl-C ends everything.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch the model if need be, then serve until Ctrl-C; exit with 0, or with 1 and a reason on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m llama_swap.llamacpp.demo", description="Try llama-swap with a small real model."
    )
    parser.add_argument("--fetch-only", action="store_true", help="fetch the model (94 MB, once), and exit")
    only_fetch = parser.parse_args(argv).fetch_only
    directory = cache_directory(os.environ)
    try:
        model = fetch_model(directory)
        if lacks_openmp():
            search_first("LD_LIBRARY_PATH", fetch_openmp(directory))
    except SwapError as error:
        sys.exit(f"llama-swap demo: {error}")
    except KeyboardInterrupt:
        sys.exit("llama-swap demo: interrupted; nothing was kept")
    if not only_fetch:
        serve(model)


def serve(model: Path) -> None:
    """Run the proxy in the foreground on the demo's configuration, with `model` behind both of its names."""
    from llama_swap.cli import main as llama_swap  # late, because fetching needs no Twisted

    os.environ["LLAMA_SWAP_DEMO_MODEL"] = os.fspath(model)
    # `llama-swap-llamacpp`, which the configuration runs, is installed beside this interpreter, perhaps not in PATH.
    search_first("PATH", Path(sys.executable).parent)
    os.environ["LLAMA_SWAP_DEMO_START_PORT"] = str(first_free(USUAL_MODEL_PORTS, MODELS))
    address = f"{HOST}:{first_free(USUAL_PORT)}"
    greeting = GREETING.format(url=f"http://{address}")
    llama_swap(["--config", os.fspath(configuration()), "--listen", address], greeting=greeting)


def search_first(variable: str, directory: Path) -> None:
    """Prepend `directory` to the environment variable with a search path, which the models inherit."""
    rest = os.environ.get(variable, os.defpath if variable == "PATH" else "")
    os.environ[variable] = os.pathsep.join(filter(None, [os.fspath(directory), rest]))


def first_free(port: int, count: int = 1) -> int:
    """Return the first port, from `port` upward, that begins a range of `count` free ports."""
    while not all(map(is_free, range(port, port + count))):
        port += 1
    return port


def is_free(port: int) -> bool:
    """Whether the port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def configuration() -> Path:
    """Return the path of demo.yaml: beside this file in a wheel, in examples/ of a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "demo.yaml"
    return packaged if packaged.exists() else here.parents[1] / "examples" / "demo.yaml"


if __name__ == "__main__":
    main()
