"""Parses a command line into llama.cpp's parameters.

This is stricter than argparse alone: `-cb` must not be read as `-c b`, and unknown flags are refused by name, because
a model that runs with other settings than those of its `cmd:` is worse than one that does not start.
"""

from __future__ import annotations

import difflib
import json
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from llama_swap import __version__
from llama_swap.llamacpp.absent import why_absent
from llama_swap.llamacpp.flags import FLAGS, Flag
from llama_swap.llamacpp.values import POOLING, REASONING

PROGRAM = "llama-swap-llamacpp"

EXAMPLE = f"""\
example:
  {PROGRAM} -m Qwen2.5-1.5B-Instruct-Q4_K_M.gguf --port 9001 -c 4096
  curl http://127.0.0.1:9001/v1/chat/completions -d '{{"messages": [{{"role": "user", "content": "Hi!"}}]}}'

in llama-swap's configuration:
  models:
    qwen:
      cmd: {PROGRAM} -m /models/Qwen2.5-1.5B-Instruct-Q4_K_M.gguf --port ${{PORT}} -c 4096
"""

DRAFT_SIMPLE = 1
"""A value of llama.cpp's common_speculative_type: a smaller model drafts tokens, which the larger one verifies."""

# A GGUF file may contain sampling settings.  These bits (common_params_sampling_config) say which of them the user has
# overridden.
CHOSEN_SAMPLING = {
    "sampling.samplers": 1 << 0,
    "sampling.top_k": 1 << 1,
    "sampling.top_p": 1 << 2,
    "sampling.min_p": 1 << 3,
    "sampling.temp": 1 << 6,
    "sampling.penalty_last_n": 1 << 7,
    "sampling.penalty_repeat": 1 << 8,
}


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{PROGRAM}: {message}; {PROGRAM} --help lists the flags\n")


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that `argv` sets, by their dotted names.

    Exits with 0 after `--help` and `--version`; with 1 and one line on stderr if `argv` is not valid.
    """
    parser = _parser()
    if unknown := "; ".join(_unknown_flags(argv)):
        parser.error(unknown)
    parameters = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    if "model.path" not in parameters:
        parser.error("no model; give one with -m FILE.gguf")
    return parameters


def apply(parameters: Mapping[str, Any], params: Any) -> None:
    """Set `parameters` on `params`, an `xllamacpp.CommonParams`, and others that llama-server derives from them."""
    settings = dict(parameters)
    if settings.pop("reranking", False):
        settings |= {"embedding": True, "pooling_type": POOLING["rank"]}
    if "speculative.draft.mparams.path" in settings:
        settings["speculative.types"] = [DRAFT_SIMPLE]
    if "tensor_buft_overrides" in settings:
        settings["tensor_buft_overrides"] = ",".join(settings["tensor_buft_overrides"])
    if "lora_adapters" in settings:
        from xllamacpp import CommonAdapterLoraInfo

        settings["lora_adapters"] = [CommonAdapterLoraInfo(*adapter) for adapter in settings["lora_adapters"]]
    if (thinks := settings.get("enable_reasoning", REASONING["auto"])) != REASONING["auto"]:
        chosen = {"enable_thinking": json.dumps(bool(thinks))}
        settings["default_template_kwargs"] = chosen | settings.get("default_template_kwargs", {})
    settings.setdefault("cpuparams_batch.n_threads", settings["cpuparams.n_threads"])
    settings["sampling.user_sampling_config"] = sum(CHOSEN_SAMPLING[name] for name in CHOSEN_SAMPLING.keys() & settings)
    for name, value in settings.items():
        *path, attribute = name.split(".")
        owner = params
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, attribute, value)


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} -m FILE.gguf [flags]",
        description="llama.cpp's HTTP server, with llama-server's flags, out of the Python wheel xllamacpp.",
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {__version__} (xllamacpp {_xllamacpp_version()})"
    )
    for flag in FLAGS:
        _add(flag, parser)
    return parser


def _add(flag: Flag, parser: ArgumentParser) -> None:
    names = flag.names.split()
    if flag.read is None:
        action = "append_const" if flag.adds else "store_const"
        parser.add_argument(*names, dest=flag.parameter, action=action, const=flag.value, help=flag.help)
        return
    metavar = "N" if flag.read in (int, float) else names[-1].lstrip("-").upper()
    parser.add_argument(
        *names,
        dest=flag.parameter,
        action="extend" if flag.adds else "store",
        type=flag.read,
        default=flag.default,
        metavar=metavar,
        help=flag.help,
    )


def _unknown_flags(argv: Sequence[str]) -> Iterator[str]:
    known = {name for flag in FLAGS for name in flag.names.split()} | {"-h", "--help", "--version"}
    for word in argv:
        name = word.partition("=")[0]
        if not name.startswith("-") or name in known or re.fullmatch(r"-\d.*", name):
            continue
        if why := why_absent(name):
            yield f"{name}: {why}"
        else:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8) if name.startswith("--") else []
            yield f"unknown flag {name}" + (f" (did you mean {close[0]}?)" if close else "")


def _xllamacpp_version() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "is not installed"
