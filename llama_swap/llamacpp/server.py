"""`llama-swap-llamacpp`: a llama-server for machines that have pip but no llama.cpp.

The HTTP server is llama.cpp's own, with all its routes; this module adds a command line, clear error messages, and a
prompt exit.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llama_swap.errors import SwapError
from llama_swap.llamacpp.options import PROGRAM, apply, parse
from llama_swap.llamacpp.stoppable import run_stoppable

NOT_SERVED = 3
"""The exit status with which the child that loads the model tells its parent that it failed."""
GGUF_MAGIC = b"GGUF"  # https://github.com/ggml-org/ggml/blob/master/docs/gguf.md


class CannotServe(SwapError):
    """The server cannot be started."""


def main(argv: Sequence[str] | None = None) -> None:
    """Serve a model until SIGTERM or SIGINT, then exit with 0; or print an error to stderr, and exit with 1."""
    parameters = parse(sys.argv[1:] if argv is None else argv)
    try:
        require_xllamacpp()
        check_model(parameters["model.path"])
        check_address(parameters["hostnames"][0], parameters["port"])
        status = run_stoppable(lambda: serve(parameters))
    except CannotServe as error:
        sys.exit(f"{PROGRAM}: {error}")
    except ChildProcessError as error:
        sys.exit(f"{PROGRAM}: llama.cpp was {error}; its last lines above may say why")
    if status == NOT_SERVED:
        # Printed by the parent, since a thread of llama.cpp may print lines until the child has exited.
        sys.exit(f"{PROGRAM}: llama.cpp could not serve {parameters['model.path']}; its lines above, marked E, say why")
    sys.exit(status)


def serve(parameters: Mapping[str, Any]) -> int:
    """Load the model and serve it for as long as this process lives; return NOT_SERVED if llama.cpp cannot.

    @raise CannotServe: the library or the flags cannot be used.
    """
    try:
        import xllamacpp  # late, so that --help, --version and the checks need neither the wheel nor its 100 MB
    except ImportError as error:
        hint = "; try: apt-get install libgomp1" if "libgomp" in str(error) else ""
        raise CannotServe(f"llama.cpp cannot be loaded: {error}{hint}") from None

    params = xllamacpp.CommonParams()
    try:
        apply(parameters, params)
    except ValueError as error:
        raise CannotServe(f"llama.cpp does not take these flags: {error}") from None
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        return NOT_SERVED
    while server:
        signal.pause()
    return 0


def require_xllamacpp() -> None:
    """Check that llama.cpp's wheel is installed.

    @raise CannotServe: it is not.
    """
    if find_spec("xllamacpp") is None:
        raise CannotServe("llama.cpp is missing; pip install xllamacpp, or pipx inject llama-swap xllamacpp, brings it")


def check_model(path: str) -> None:
    """Check that `path` is a readable GGUF file.

    @raise CannotServe: it is not.
    """
    try:
        with Path(path).open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise CannotServe(f"cannot read the model {path}: {error.strerror}") from None
    if magic != GGUF_MAGIC:
        raise CannotServe(f"{path} is not a GGUF model: it does not begin with {GGUF_MAGIC.decode()}")


def check_address(host: str, port: int) -> None:
    """Check that `host`:`port` is free to listen on.

    @raise CannotServe: it is not.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from None


if __name__ == "__main__":
    main()
