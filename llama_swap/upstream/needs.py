"""What the commands of models need on this machine, and do not find.

These are warnings: a program or file may come later, or the configuration may be meant for another machine.  Looking
for them may wait for disks.
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

_CONTAINERS: Final = frozenset(
    {"docker", "docker-compose", "podman", "podman-compose", "nerdctl", "kubectl", "oc", "lxc", "incus", "apptainer"}
    | {"singularity", "distrobox", "toolbox", "systemd-nspawn", "flatpak", "bwrap", "chroot", "ssh", "autossh"}
)
_OTHER_USERS: Final = frozenset({"sudo", "doas", "su", "runuser", "pkexec", "run0", "setpriv", "gosu"})
_ELSEWHERE: Final = SHELLS | _CONTAINERS | _OTHER_USERS | {"nix-shell"}
"""Arguments of these commands name files of a container, another machine or another user, or cannot be read here."""
_MODEL_FILE: Final = ".gguf"
_FILE_OPTIONS: Final = frozenset(
    {"-m", "--model", "-mm", "--mmproj", "-md", "--model-draft", "-mv", "--model-vocoder", "--chat-template-file"}
)
_OTHER_OPTIONS: Final = frozenset({"-a", "--alias", "--served-model-name", "--name", "--log-file", "-o", "--output"})
"""The values of these options may look like a model's file, but are none, or are made by the command."""
_NO_FILE = re.compile(r"^[~$]|://|[,*]")
"""What is not the path of one file: a path for a shell, a URL, or several files."""
_MANY_WORDS = re.compile(r"\s")
"""What may be several files or a script, unless an option says that it is one file."""
_DIRECTORY = re.compile(r"-C|--(chdir|working-directory)\b")
"""With these options (of `env` and the like), programs run in another directory than ours."""
_DOWNLOAD = re.compile(r"(-hf|--hf-).*|-mu|--model-url|-dr|--docker-repo")
"""With these options, missing files are downloaded."""
_SCRIPT = re.compile(rb"#![ \t]*([^ \t\n]+)")
_OUT_OF_REACH: Final = "out of reach: this user may not pass a directory above it"


def program_for(words: Sequence[str], path: str | None) -> str | None:
    """Return the program of a command, looked up on our own `PATH`, then on `path`."""
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
    if os.sep in name and (unfit := _unfit(name)):
        return unfit
    return f"there is no program {name!r} here; install it, or write its full path"


def missing(config: Config) -> dict[str, list[str]]:
    """Return what commands need and do not find, each with ids of models.  A needed shell is reported elsewhere."""
    lacking: dict[str, list[str]] = {}
    for look in (_missing_program, _missing_files):
        for model in config.models.values():
            for problem in look(model):
                lacking.setdefault(problem, []).append(model.id)
    return lacking


def _missing_program(model: ModelConfig) -> Iterator[str]:
    words = model.cmd  # that it is empty is reported elsewhere
    if not words:
        return
    program = program_for(words, model.env.get("PATH"))
    if program is None and not [*wishes(words[:1])]:
        yield why_no_program(words)
    elif program is not None and (interpreter := _interpreter(program)) and not _is_there(interpreter):
        remedy = "save it with the line ends of Unix" if interpreter.endswith("\r") else "mend its first line"
        yield f"the program {program!r} is a script for {interpreter!r}, which is not here; {remedy}"


def _missing_files(model: ModelConfig) -> Iterator[str]:
    for name in dict.fromkeys(_files(model.cmd)) if model.is_local else ():
        try:
            Path(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            yield f"there is no file {name!r} {'here' if Path(name).is_absolute() else f'in {_here()}'}"
        except PermissionError:
            yield f"the file {name!r} is {_OUT_OF_REACH}"
        except OSError as error:
            yield f"the file {name!r} cannot be used: {error.strerror}"
        else:
            if not os.access(name, os.R_OK):
                yield f"the file {name!r} cannot be read by this user; allow it, with chmod"


def _files(words: Sequence[str]) -> Iterator[str]:
    """Yield the arguments of a command that are certainly files of this machine."""
    for word in words:
        if PurePath(word).name in _ELSEWHERE or _DOWNLOAD.fullmatch(word.partition("=")[0]):
            return
    goes_elsewhere = any(map(_DIRECTORY.match, words))
    for before, word in pairwise(words):
        option, _, value = word.partition("=") if word.startswith("-") else (before, "", word)
        is_absolute = value.startswith("/")
        if _NO_FILE.search(value) or option in _OTHER_OPTIONS or (goes_elsewhere and not is_absolute):
            continue
        is_model = value.endswith(_MODEL_FILE)
        is_path = is_absolute or value.startswith(("./", "../"))
        is_one = is_model and is_absolute and not _MANY_WORDS.search(value)
        if is_one or (option in _FILE_OPTIONS and (is_model or is_path)):
            yield value


def _here() -> str:
    """Return the directory in which commands run."""
    try:
        return str(Path.cwd())
    except OSError:  # it was removed, or we may not look
        return "the current directory"


def _unfit(name: str) -> str:
    """Say why what is at this path cannot be run; empty if nothing is there."""
    try:
        is_directory = Path(name).is_dir()
    except PermissionError:
        return f"the program {name!r} is {_OUT_OF_REACH}"
    except OSError:
        return ""
    return f"{name!r} is a directory; write the path of the program in it" if is_directory else ""


def _interpreter(program: str) -> str:
    """Return the interpreter in the first line of a script; nothing for other programs."""
    try:
        with Path(program).open("rb") as file:
            found = _SCRIPT.match(file.read(256))
    except OSError:  # a program may be executable without being readable
        return ""
    return os.fsdecode(found[1]) if found else ""


def _is_there(name: str) -> bool:
    """Whether it exists, as far as we may look."""
    try:
        Path(name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False
