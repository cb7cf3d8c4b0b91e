"""The console script `llama-swap`: serve in the foreground, check a configuration, print its schema."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from llama_swap import __version__
from llama_swap.errors import SwapError
from llama_swap.listening.address import DEFAULT_ADDRESS, DEFAULT_TLS_ADDRESS
from llama_swap.settings import Flags, explained, with_double_dashes

_SHORTEST = """\
  models:
    llama:
      cmd: llama-server --port ${PORT} -m llama-3.2-1b.gguf
"""
_SERVE = {
    "usage": "%(prog)s [check | schema | help] [options] [FILE]",
    "description": "One address for many local models: starts the one that a request names, stops the one in its way.",
    "epilog": f"""\
examples:
  llama-swap models.yaml                      serve on {DEFAULT_ADDRESS}
  llama-swap models.yaml --listen :8080       serve the whole network
  llama-swap check models.yaml                say what is wrong with a file, and what it means
  llama-swap schema > config-schema.json      help editors with the file

The shortest configuration is a name and a command; ${{PORT}} is filled in:

{_SHORTEST}
As a daemon: twistd llama-swap --config models.yaml
""",
}
_CHECK = {
    "usage": "%(prog)s check [--all | --quiet] [options] [FILE]",
    "description": "Says what is wrong with a configuration, and prints what it comes to, as YAML.",
    "epilog": """\
Nothing is started or changed, and a running llama-swap is left alone.  The options of a start may stay on the line.
Exit status: 0 if a start would go well, with warnings or without; 1 if not.
""",
}
_NOTHING = f"""\
error: at least one of --config and --config-dir must be given, or just a file: `llama-swap models.yaml`.

That file has the models, each with the command that starts it; ${{PORT}} is filled in:

{_SHORTEST}
`llama-swap --help` tells more."""
_INSTEAD = {
    "--port": "use --listen HOST:PORT",
    "--host": "use --listen HOST:PORT",
    "--listen-tailcat": "Tailcat is not spoken here; leave it out",
}
"""Options that do not exist but are often tried, and what to use instead."""


class _Parser(argparse.ArgumentParser):
    """Says what to write instead of options that do not exist here."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        unknown = {word.partition("=")[0] for word in message.split()}
        hints = dict.fromkeys(hint for option, hint in _INSTEAD.items() if option in unknown)
        super().error("; ".join([message, *hints]))


def main(argv: Sequence[str] | None = None, *, greeting: str = "") -> None:
    """Run the command line `argv`, by default that of the process.

    `greeting` is printed after the address, once the proxy listens.

    @raise SystemExit: the command line or the configuration cannot be used, or a check is done.
    """
    words = [*with_double_dashes(sys.argv[1:] if argv is None else argv)]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    parser = _parser(checks="check" in words)
    arguments = vars(parser.parse_intermixed_args(words))
    command, *files = _words(arguments.pop("words"))
    if len(files) + (arguments["config"] is not None) > 1:
        if "." not in files[0] and not os.path.exists(files[0]):  # noqa: PTH110 - no need for pathlib at each start
            parser.error(f"there is no command {files[0]!r}: leave it out to serve, or write check or schema")
        named = " and ".join(filter(None, (arguments["config"], *files)))
        parser.error(f"one file, please, instead of {named}; --config-dir DIR takes more")
    arguments["config"] = arguments["config"] or next(iter(files), None)
    is_quiet, with_defaults = arguments.pop("quiet", False), arguments.pop("all", False)
    if arguments.pop("validate"):
        command, is_quiet = "check", True
    flags = Flags(**arguments)
    if command == "schema":
        from llama_swap.config.schema import render

        _print(render())
        return
    if flags.config is None and flags.config_dir is None:
        sys.exit(_NOTHING)
    if command == "check":
        from llama_swap.check import check

        sys.exit(check(flags, show=None if is_quiet else _print, with_defaults=with_defaults))
    try:
        _serve(flags, greeting)
    except SwapError as error:
        sys.exit(explained(error))
    except KeyboardInterrupt:  # Ctrl-C before the proxy listens
        sys.exit(0)


def _words(words: Sequence[str]) -> list[str]:
    """Return the command, `serve` if none is given, and the files that follow it."""
    return [*words] if words[:1] in (["check"], ["schema"]) else ["serve", *words]


def _parser(*, checks: bool) -> _Parser:
    texts = _CHECK if checks else _SERVE
    parser = _Parser(
        prog="llama-swap",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=texts["usage"],
        description=texts["description"],
        epilog=texts["epilog"],
    )
    option = parser.add_argument
    option("words", nargs="*", metavar="FILE", help="the YAML file that describes the models")
    option("--config", metavar="FILE", help="the same as just FILE")
    if checks:
        option("-a", "--all", action="store_true", help="show what is as it is by default, too")
        option("-q", "--quiet", action="store_true", help="only say what is wrong, and sum up")
    option("--config-dir", metavar="DIR", help="a directory whose *.yml and *.yaml files are added to it")
    option("--watch-config", action="store_true", help="reload when one of these files, or the certificate, changes")
    address = f"(default: {DEFAULT_ADDRESS}, with TLS {DEFAULT_TLS_ADDRESS})"
    option(
        "--listen",
        metavar="ADDRESS",
        help=f"HOST:PORT, :PORT for every interface, or a Twisted endpoint string {address}",
    )
    option("--tls-cert-file", metavar="FILE", help="serve TLS with this certificate, in PEM")
    option("--tls-key-file", metavar="FILE", help="the certificate's key, in PEM")
    option("--validate", action="store_true", help="say what is wrong with the file, and exit: the same as `check -q`")
    option("--version", action="version", version=f"llama-swap {__version__}", help="print the version, and exit")
    return parser


def _print(text: str) -> None:
    """Print a long text, of which `head` or a pager may not read all."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes the rest there


def _serve(flags: Flags, greeting: str) -> None:
    from llama_swap.tap import read_settings, run_in_foreground

    run_in_foreground(read_settings(flags), greeting)


if __name__ == "__main__":
    main()
