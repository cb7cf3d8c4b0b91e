"""The console script: the proxy in the foreground, and a check of its configuration."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

from llama_swap import __version__, listen
from llama_swap.errors import SwapError

_EPILOG = """\
examples:
  llama-swap --config models.yaml                      serve on 127.0.0.1:8080
  llama-swap --config models.yaml --listen :8080       serve every machine in the network
  llama-swap check --config models.yaml                say what is wrong with a file, or what it means

The shortest configuration is a name and a command; ${PORT} is filled in:

  models:
    llama:
      cmd: llama-server --port ${PORT} -m llama-3.2-1b.gguf

As a daemon: twistd llama-swap --config models.yaml
"""


def main(argv: Sequence[str] | None = None, *, greeting: str = "") -> None:
    """Run the command line `argv` (default: that of the process), and exit.

    `greeting` is printed after the address, once the proxy listens.
    """
    arguments = _parser().parse_args(_with_double_dashes(sys.argv[1:] if argv is None else argv))
    try:
        if arguments.command == "check":
            _check(arguments.config)
        else:
            _serve(arguments.config, arguments.listen, greeting)
    except SwapError as error:
        sys.exit(f"llama-swap: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llama-swap",
        description="One address for many local models: starts the one that a request names, stops the one in its way.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=["check"], help="check the file, print what it means, and exit")
    parser.add_argument("--config", metavar="FILE", required=True, help="the YAML file that describes the models")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        help=f"HOST:PORT, :PORT for every interface, or a Twisted endpoint string (default: {listen.DEFAULT})",
    )
    parser.add_argument("--version", action="version", version=f"llama-swap {__version__}")
    return parser


def _with_double_dashes(argv: Sequence[str]) -> list[str]:
    """Return `argv` with `-config` as `--config`: scripts written for Go programs use one dash."""
    return [f"-{word}" if re.match(r"-[a-z]{2}", word) else word for word in argv]


def _check(path: str) -> None:
    from llama_swap.config.load import load_config
    from llama_swap.config.show import render_effective

    loaded = load_config(path, environ=os.environ)
    for note in loaded.notes:
        print(f"note: {note.render(path)}", file=sys.stderr)
    for warning in loaded.warnings:
        print(f"warning: {warning.render(path)}", file=sys.stderr)
    print(render_effective(loaded.config), end="")


def _serve(path: str, address: str | None, greeting: str) -> None:
    from llama_swap.tap import Settings, run_in_foreground

    run_in_foreground(Settings.read(path, address), greeting)


if __name__ == "__main__":
    main()
