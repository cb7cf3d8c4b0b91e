"""Arguments of llama-server's flags, and the values that llama.cpp gets for them.

Each reader takes the argument as typed, and raises ArgumentTypeError or ValueError if it is not valid.
"""

from __future__ import annotations

import json
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

_Number = TypeVar("_Number", int, float)

# The numbers are those of the enumerations in llama.cpp's llama.h and ggml.h.
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
SWITCHED = {"off": 0, "on": 1}
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
GPU_LAYERS = {"auto": -1, "all": -2}
SPLIT_MODE = {"none": 0, "layer": 1, "row": 2, "tensor": 3}
DEVICES = 128
LAYERS = 10_000
"""More than any model has."""
LOAD_MODE = {"auto": -1, "none": 0, "mmap": 1, "mlock": 2, "mmap+mlock": 3, "dio": 4}
NUMA = {"distribute": 1, "isolate": 2, "numactl": 3}
REASONING = {"auto": -1, "off": 0, "on": 1}
REASONING_FORMAT = {"none": 0, "auto": 1, "deepseek-legacy": 2, "deepseek": 3}
ROPE_SCALING = {"none": 0, "linear": 1, "yarn": 2}
EXPERTS_ON_CPU = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU"


def one_of(choices: Mapping[str, int], *, or_number: bool = False) -> Callable[[str], int]:
    """Return a reader of one of `choices`, or also of an integer if `or_number`."""

    def read(word: str) -> int:
        if or_number and re.fullmatch(r"-?\d+", word):
            return int(word)
        if word not in choices:
            raise ArgumentTypeError(f"{word!r} is none of: {', '.join(choices)}")
        return choices[word]

    return read


def text_of(file: str) -> str:
    """Return the text of the file that the argument names."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ArgumentTypeError(f"cannot read {file}: {error.strerror}") from None
    except ValueError:
        raise ArgumentTypeError(f"{file} is not UTF-8 text") from None


def port_number(word: str) -> int:
    """Read a port; 0 lets the kernel choose one."""
    if not word.isdecimal() or int(word) > 65535:
        raise ArgumentTypeError(f"{word!r} is not a number from 0 to 65535")
    return int(word)


def directory(word: str) -> str:
    """Read an existing directory; llama.cpp appends file names to it, so a slash is added."""
    if not os.path.isdir(word):  # noqa: PTH112 - that of Path fails for names that are too long
        raise ArgumentTypeError(f"{word} is not a directory")
    return f"{word.rstrip('/')}/"


def template_parameters(word: str) -> dict[str, str]:
    """Read a JSON object; llama.cpp takes each value as JSON text."""
    try:
        values = json.loads(word)
    except ValueError as error:
        raise ArgumentTypeError(f"{word!r} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ArgumentTypeError(f"{word!r} is not a JSON object")
    return {name: json.dumps(value) for name, value in values.items()}


def comma_list(word: str) -> list[str]:
    """Read at least one word; several are separated by commas.

    Empty words, as from unset variables, are dropped: as a key for `--api-key`, one would let everybody in.
    """
    words = [part.strip() for part in word.split(",")]
    if not any(words):
        raise ArgumentTypeError("there is nothing in the list")
    return [part for part in words if part]


def comma_set(word: str) -> set[str]:
    """Read names separated by commas."""
    return set(comma_list(word))


def adapters(word: str) -> list[tuple[str, float]]:
    """Read the files of LoRA adapters, separated by commas, each with strength 1."""
    return [(file, 1.0) for file in comma_list(word)]


def scaled_adapters(word: str) -> list[tuple[str, float]]:
    """Read FILE:STRENGTH pairs, separated by commas."""
    pairs = []
    for item in comma_list(word):
        file, _, strength = item.rpartition(":")
        try:
            pairs.append((file, float(strength)))
        except ValueError:
            raise ArgumentTypeError(f"{item!r} is not FILE:NUMBER") from None
    return pairs


def overrides(word: str) -> list[str]:
    """Read PATTERN=BUFFER pairs, separated by commas."""
    pairs = comma_list(word)
    for pair in pairs:
        if "=" not in pair:
            raise ArgumentTypeError(f"{pair!r} is not PATTERN=BUFFER, such as exps=CPU")
    return pairs


def first_experts(word: str) -> list[str]:
    """Read the number of layers, counted from the first, whose experts stay on the CPU; return the overrides."""
    return [rf"blk\.{layer}{EXPERTS_ON_CPU}" for layer in range(min(_number(word, int), LAYERS))]


def proportions(word: str) -> list[float]:
    """Read numbers separated by commas, one for each device; zeros are added for the devices that are not named."""
    parts = [_number(part, float) for part in word.split(",")]
    return (parts + [0.0] * DEVICES)[:DEVICES]


def inverse(word: str) -> float:
    """Read a factor, and return its inverse, which llama.cpp takes."""
    if (factor := _number(word, float)) <= 0:
        raise ArgumentTypeError(f"{word!r} is not above 0")
    return 1 / factor


def _number(word: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        return kind(word)
    except ValueError:
        raise ArgumentTypeError(f"{word!r} is not a number") from None


def alone(word: str) -> list[str]:
    """Return a list with the argument as its only member."""
    return [word]
