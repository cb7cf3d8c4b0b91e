"""What the commands of models need of this machine, and do not find there.

None of it keeps a configuration from being used: a program or a file may come later, or the configuration be meant for
another machine.  Looking may wait for disks.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final

from llama_swap.config.model import Config, ModelConfig
from llama_swap.config.shell import SHELLS, wishes

_ELSEWHERE: Final = SHELLS | {"docker", "podman", "nerdctl", "apptainer", "singularity", "distrobox", "toolbox", "ssh"}
"""What stands behind them names files of a container or another machine, or is not for us to read."""
_MODEL_FILE: Final = ".gguf"
_FILE_OPTIONS: Final = frozenset(
    {"-m", "--model", "-mm", "--mmproj", "-md", "--model-draft", "-mv", "--model-vocoder", "--chat-template-file"}
)
_NAME_OPTIONS: Final = frozenset({"-a", "--alias", "--served-model-name"})
"""What follows them may look like a file, and is none."""
_DOWNLOAD = re.compile(r"(-hf|--hf-).*|-mu|--model-url|-dr|--docker-repo")
"""With these options, files that are not there are fetched."""


def program_for(words: Sequence[str], path: str | None) -> str | None:
    """Return the program of a command, as it is found on our own `PATH`, or else on `path`."""
    return shutil.which(words[0]) or shutil.which(words[0], path=path)


def why_no_program(words: Sequence[str]) -> str:
    """Say why a command has no program, and what to do."""
    name = words[0]
    for wish in wishes(words[:1]):
        return f"there is no program {name.partition('=')[0]!r}: {wish}"
    directories = [""] if os.sep in name else os.get_exec_path()
    for file in (Path(directory, name) for directory in directories):
        if _is_file(file):
            return f"the program {str(file)!r} is not executable; make it so, with chmod +x"
    return f"there is no program {name!r} here; install it, or write its full path"


def missing(config: Config) -> Iterator[tuple[str, str]]:
    """Yield ids of models, and what their commands need and do not find.  What a shell should do was told before."""
    lacking: dict[str, list[ModelConfig]] = {}
    for model in config.models.values():  # those without a command have been told
        if model.cmd and program_for(model.cmd, model.env.get("PATH")) is None and not [*wishes(model.cmd[:1])]:
            lacking.setdefault(model.cmd[0], []).append(model)
    for first, *others in lacking.values():
        also = f" (also for {', '.join(model.id for model in others)})" if others else ""
        yield first.id, f"{why_no_program(first.cmd)}{also}"
    for model in config.models.values():
        for problem in _missing_files(model):
            yield model.id, problem


def _missing_files(model: ModelConfig) -> Iterator[str]:
    for name in dict.fromkeys(_files(model.cmd)) if model.is_local else ():
        try:
            Path(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            yield f"there is no file {name!r} {'here' if Path(name).is_absolute() else f'in {_here()}'}"
        except OSError as error:
            yield f"the file {name!r} cannot be used: {error.strerror}"


def _files(words: Sequence[str]) -> Iterator[str]:
    """Yield the files that a command is sure to mean as files of this machine."""
    for word in words:
        if PurePath(word).name in _ELSEWHERE or _DOWNLOAD.fullmatch(word.partition("=")[0]):
            return
    for before, word in pairwise(words):
        option, _, value = word.partition("=") if word.startswith("-") else (before, "", word)
        is_path = value.startswith(("/", "./", "../"))
        is_named = (
            value.endswith(_MODEL_FILE) and option not in _NAME_OPTIONS and not re.search(r"^[~$]|://|[,*]", value)
        )
        if is_named or (is_path and option in _FILE_OPTIONS):
            yield value


def _here() -> str:
    """Return the directory in which commands run."""
    try:
        return str(Path.cwd())
    except OSError:  # somebody has removed it, or may not let us know
        return "the current directory"


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False
