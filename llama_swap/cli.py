"""The console script: the proxy in the foreground, and a check of its configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from shutil import which
from typing import TYPE_CHECKING

from llama_swap import __version__, listen
from llama_swap.errors import Problem, SwapError
from llama_swap.settings import Flags, explained, load, with_double_dashes

if TYPE_CHECKING:
    from llama_swap.config.model import Config

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
    parser = _parser()
    arguments = vars(parser.parse_args(list(with_double_dashes(sys.argv[1:] if argv is None else argv))))
    command, *files = _words(arguments.pop("words"))
    if len(files) + (arguments["config"] is not None) > 1:
        parser.error(f"one file, please; --config-dir DIR takes more (unexpected: {files[-1]})")
    arguments["config"] = arguments["config"] or next(iter(files), None)
    flags = Flags(**arguments)
    try:
        if command == "check":
            _check(flags)
        else:
            _serve(flags, greeting)
    except SwapError as error:
        sys.exit(explained(error))


def _words(words: Sequence[str]) -> list[str]:
    """Return the command, and the files that follow it."""
    return [*words] if words[:1] == ["check"] else ["serve", *words]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llama-swap",
        usage="%(prog)s [check] [options] [FILE]",
        description="One address for many local models: starts the one that a request names, stops the one in its way.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("words", nargs="*", metavar="FILE", help="the same as --config FILE; check: say what it means, and exit")
    option("--config", metavar="FILE", help="the YAML file that describes the models")
    option("--config-dir", metavar="DIR", help="a directory whose *.yml and *.yaml files are added to it")
    option("--watch-config", action="store_true", help="reload when one of these files changes")
    address = f"(default: {listen.DEFAULT}, with TLS {listen.DEFAULT_TLS})"
    option(
        "--listen",
        metavar="ADDRESS",
        help=f"HOST:PORT, :PORT for every interface, or a Twisted endpoint string {address}",
    )
    option("--tls-cert-file", metavar="FILE", help="serve TLS with this certificate, in PEM")
    option("--tls-key-file", metavar="FILE", help="the certificate's key, in PEM")
    option("--version", action="version", version=f"llama-swap {__version__}")
    return parser


def _check(flags: Flags) -> None:
    from llama_swap.config.show import render_effective

    loaded = load(flags.sources)
    path = str(flags.sources)
    for note in loaded.notes:
        print(f"note: {note.render(path)}", file=sys.stderr)
    for warning in (*loaded.warnings, *_missing_programs(loaded.config)):
        print(f"warning: {warning.render(path)}", file=sys.stderr)
    print(render_effective(loaded.config), end="")


def _missing_programs(config: Config) -> Iterator[Problem]:
    """Yield a warning for each command that this machine, as it is now, could not run."""
    for model in config.models.values():
        program = model.cmd[0]
        if which(program, path=model.env.get("PATH")) is None:
            remedy = "install it, or write its full path"
            yield Problem(None, f"models.{model.id}.cmd", f"there is no program {program!r} here; {remedy}")


def _serve(flags: Flags, greeting: str) -> None:
    from llama_swap.tap import read_settings, run_in_foreground

    run_in_foreground(read_settings(flags), greeting)


if __name__ == "__main__":
    main()
