"""llama-server's flags, and where each of them goes in llama.cpp's parameters.

The wheel `xllamacpp` brings llama.cpp's server but not its command line.  This table is the part of it that
people's configurations use, under the same spellings and meanings, so that a `cmd:` written for llama-server
works as it is: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md .  A flag that is not
given leaves llama.cpp's own default alone, except where this table names a `default`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

# The numbers are those of llama.cpp's enumerations in llama.h and ggml.h.
POOLING = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}
CACHE_TYPE = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
GPU_LAYERS = {"auto": -1, "all": -2}
NO_MMAP, MLOCK = 0, 2


@frozen
class Flag:
    """One flag: its spellings, the parameter that it sets, and what it means."""

    names: str
    parameter: str
    """Attribute of `xllamacpp.CommonParams`, dotted."""
    help: str
    read: Callable[[str], object] | None = None
    """From the word after the flag to the parameter's value; None: a switch, which no word follows."""
    value: object = True
    """What a switch sets."""
    default: object = None


def one_of(choices: Mapping[str, int], *, or_number: bool = False) -> Callable[[str], int]:
    """Return a reader of one of `choices`, or of a whole number where that is allowed too."""

    def read(word: str) -> int:
        if or_number and re.fullmatch(r"-?\d+", word):
            return int(word)
        if word not in choices:
            raise ArgumentTypeError(f"{word!r} is none of: {', '.join(choices)}")
        return choices[word]

    return read


def text_of(file: str) -> str:
    """Read the value from a file."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ArgumentTypeError(f"cannot read {file}: {error.strerror}") from None


def port_number(word: str) -> int:
    """Read a port; 0 lets the kernel choose one."""
    if not word.isdecimal() or int(word) > 65535:
        raise ArgumentTypeError(f"{word!r} is not a number from 0 to 65535")
    return int(word)


def directory(word: str) -> str:
    """Read an existing directory; llama.cpp only appends file names to it, so it ends with a slash."""
    if not Path(word).is_dir():
        raise ArgumentTypeError(f"{word} is not a directory")
    return f"{word.rstrip('/')}/"


def template_parameters(word: str) -> dict[str, str]:
    """Read a JSON object into what llama.cpp keeps: each value as JSON text of its own."""
    try:
        values = json.loads(word)
    except ValueError as error:
        raise ArgumentTypeError(f"{word!r} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ArgumentTypeError(f"{word!r} is not a JSON object")
    return {name: json.dumps(value) for name, value in values.items()}


def comma_set(word: str) -> set[str]:
    """Read names separated by commas."""
    return set(word.split(","))


def alone(word: str) -> list[str]:
    """Read the only member of a list."""
    return [word]


def default_threads() -> int:
    """Return how many threads compute unless told otherwise: one on every CPU but one, on half of more than four.

    llama.cpp's threads spin while they wait for each other.  With one on every CPU, anything else that runs, such
    as the proxy, makes all of them wait: on two busy CPUs two threads were twenty times slower than one.
    """
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cpus // 2 if cpus > 4 else max(1, cpus - 1)


FLAGS = (
    Flag("-m --model", "model.path", "the model, a GGUF file (required)", str),
    Flag("--host", "hostnames", "address to listen on (127.0.0.1)", alone, default=["127.0.0.1"]),
    Flag("--port", "port", "port to listen on (8080)", port_number, default=8080),
    Flag("-a --alias", "model_alias", "names in /v1/models, separated by commas", comma_set),
    Flag("-c --ctx-size", "n_ctx", "size of the context in tokens (0: the model's own)", int),
    Flag("-n --predict --n-predict", "n_predict", "tokens to generate at most (-1: no limit)", int),
    Flag("-b --batch-size", "n_batch", "logical batch size (2048)", int),
    Flag("-ub --ubatch-size", "n_ubatch", "physical batch size (512)", int),
    Flag("-np --parallel", "n_parallel", "requests served side by side, which share the context (1)", int),
    Flag(
        "-t --threads",
        "cpuparams.n_threads",
        f"CPU threads while generating (here {default_threads()})",
        int,
        default=default_threads(),
    ),
    Flag("-tb --threads-batch", "cpuparams_batch.n_threads", "CPU threads while reading a prompt (as -t)", int),
    Flag("--threads-http", "n_threads_http", "threads that serve HTTP", int),
    Flag(
        "-ngl --gpu-layers --n-gpu-layers",
        "n_gpu_layers",
        "layers to keep on the GPU: a number, auto or all",
        one_of(GPU_LAYERS, or_number=True),
    ),
    Flag("-fa --flash-attn", "flash_attn_type", "flash attention: on, off or auto", one_of(FLASH_ATTENTION)),
    Flag("-ctk --cache-type-k", "cache_type_k", "type of the K cache, such as q8_0", one_of(CACHE_TYPE)),
    Flag("-ctv --cache-type-v", "cache_type_v", "type of the V cache, such as q8_0", one_of(CACHE_TYPE)),
    Flag("-cram --cache-ram", "cache_ram_mib", "MiB of RAM for cached prompts (8192; 0: none)", int),
    Flag("--context-shift", "ctx_shift", "drop the oldest tokens when the context is full"),
    Flag(
        "--no-context-shift",
        "ctx_shift",
        "end the answer when the context is full (the default)",
        value=False,
    ),
    Flag("--no-mmap", "load_mode", "read the model into memory instead of mapping the file", value=NO_MMAP),
    Flag("--mlock", "load_mode", "keep the model in RAM", value=MLOCK),
    Flag("--no-warmup", "warmup", "skip the empty run after loading", value=False),
    Flag("-s --seed", "sampling.seed", "seed of the random numbers", int),
    Flag("--temp --temperature", "sampling.temp", "temperature (0.8)", float),
    Flag("--top-k", "sampling.top_k", "top-k sampling (40)", int),
    Flag("--top-p", "sampling.top_p", "top-p sampling (0.95)", float),
    Flag("--min-p", "sampling.min_p", "min-p sampling (0.05)", float),
    Flag("--repeat-penalty", "sampling.penalty_repeat", "penalty for repetition (1.0: none)", float),
    Flag("--presence-penalty", "sampling.penalty_present", "penalty for presence (0.0: none)", float),
    Flag("--jinja", "use_jinja", "render chats with a Jinja template (the default)"),
    Flag("--no-jinja", "use_jinja", "render chats with a built-in template", value=False),
    Flag("--chat-template", "chat_template", "a built-in template's name, such as chatml, or a template", str),
    Flag("--chat-template-file", "chat_template", "a file that holds the template", text_of),
    Flag(
        "--chat-template-kwargs",
        "default_template_kwargs",
        "the template's parameters, JSON",
        template_parameters,
    ),
    Flag("--mmproj", "mmproj.path", "the multimodal projector, a GGUF file", str),
    Flag("--embedding --embeddings", "embedding", "serve /v1/embeddings; a chat model needs --pooling too"),
    Flag("--pooling", "pooling_type", "pooling of embeddings: none, mean, cls, last, rank", one_of(POOLING)),
    Flag("--rerank --reranking", "reranking", "serve /v1/rerank"),
    Flag("--slots", "endpoint_slots", "serve GET /slots (the default)"),
    Flag("--no-slots", "endpoint_slots", "do not serve GET /slots", value=False),
    Flag("--slot-save-path", "slot_save_path", "directory for saved prompt caches", directory),
    Flag("--metrics", "endpoint_metrics", "serve Prometheus metrics at /metrics"),
    Flag("--props", "endpoint_props", "allow changing properties with POST /props"),
    Flag("--api-key", "api_keys", "key that requests must carry", alone),
    Flag(
        "--cors-origins",
        "cors_origins",
        "web pages that may call this server (localhost, where llama-server says *)",
        str,
        default="localhost",
    ),
    Flag("-md --model-draft", "speculative.draft.mparams.path", "draft model for speculative decoding", str),
    Flag("--draft-max --spec-draft-n-max", "speculative.draft.n_max", "tokens to draft at most", int),
    Flag("--draft-min --spec-draft-n-min", "speculative.draft.n_min", "tokens to draft at least", int),
    Flag("--draft-p-min --spec-draft-p-min", "speculative.draft.p_min", "least probability of a draft", float),
    Flag(
        "-ngld --gpu-layers-draft",
        "speculative.draft.n_gpu_layers",
        "layers of the draft model on the GPU",
        one_of(GPU_LAYERS, or_number=True),
    ),
    Flag("-v --verbose", "verbosity", "log everything", value=99),
    Flag("-lv --verbosity", "verbosity", "log up to this level (3)", int),
)
