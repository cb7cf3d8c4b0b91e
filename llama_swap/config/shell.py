"""Warnings about commands that expect a shell, although none runs them.

People write commands as they would type them, but here `~`, `$HOME`, `|` and `cd` are words like all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import PurePath
from typing import Final

SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"})
_BUILT_IN: Final = frozenset(
    {"cd", "exec", "source", ".", "export", "set", "unset", "ulimit", "umask", "eval", "alias", "if", "for", "while"}
)
"""Shell built-ins.  Some exist as programs, too, but as such do nothing for the server."""
_CALL_A_SHELL: Final = frozenset({"ssh", "autossh", "nix-shell"})
"""Programs that pass their arguments to a shell."""
_CALL_WITH_OPTION: Final = SHELLS | {"su", "runuser"}
_COMMAND_OPTION = re.compile(r"-[A-Za-z]*c[A-Za-z]*")
_BLANK = re.compile(r"\s")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_OPERATOR = re.compile(r"(\|[|&]?|&&?|;|<)|([\d&]?>>?)(&\d|[\w./~-].*)?")
_SUBSTITUTION = re.compile(r"(?:^|=)(\$\(|`)")
_HOME = re.compile(r"(?:^|[=:,])(~)(?:/|$)")
_OWN: Final = frozenset({"PID", "MODEL_ID"})
"""Macros of llama-swap, which people write like variables; `PORT` has a warning of its own."""
_VARIABLE = re.compile(r"(?:^|[=:,/])\$(?!PORT\b)([A-Z_][A-Z0-9_]*)(?!\w)")


def wishes(words: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each thing that a shell would have to do for this command, with what to write instead."""
    variables = _assigned(words)
    words = words[len(variables) :]
    if variables:
        yield _unheard(f"nobody sets {_listed(f'{name}=…' for name in variables)}: put that under `env:`")
    built_in = [word for word in words[:1] if word in _BUILT_IN]
    if not built_in and _has_shell(words):
        return
    plain = [word for word in words if not _BLANK.search(word)]  # the others were quoted, and may be scripts
    if signs := [*built_in, *(sign for word in plain for sign in _signs(word))]:
        yield _unheard(f"nobody acts on {_listed(signs)}: {_instead(words, signs)}")
    replaced = {"~": "HOME"} if any(map(_HOME.search, plain)) else {}
    replaced |= {f"${name}": name for word in plain for name in _VARIABLE.findall(word)}
    if replaced:
        written = _listed(f"${{{'' if name in _OWN else 'env.'}{name}}}" for name in replaced.values())
        yield _unheard(f"nobody replaces {_listed(replaced)}: write {written}")


def _assigned(words: Sequence[str]) -> list[str]:
    """Return the variables that are assigned before the program, as in `A=1 B=2 program`."""
    assignments = takewhile(bool, map(_ASSIGNMENT.match, words))
    return [assignment[1] for assignment in assignments if assignment]


def _has_shell(words: Sequence[str]) -> bool:
    """Whether the command itself passes words to a shell, here or on another machine; if in doubt, True."""
    for place, word in enumerate(words):
        name = PurePath(word.removeprefix("--entrypoint=")).name
        if name in _CALL_A_SHELL:
            return True
        if name in _CALL_WITH_OPTION and any(map(_COMMAND_OPTION.fullmatch, words[place + 1 :])):
            return True
    return False


def _instead(words: Sequence[str], signs: Sequence[str]) -> str:
    """Return what to write instead of a command with these signs of shell syntax."""
    idle = [*(word for word in words[:1] if word == "exec"), *(word for word in words[-1:] if word == "&")]
    if len(idle) == len(signs):
        return f"leave {'it' if len(idle) == 1 else 'them'} out"
    around = 'write bash -c "… exec …" around it all, with exec before the last command'
    return f"{around} and no & at the end" if "&" in idle else around


def _signs(word: str) -> Iterator[str]:
    """Yield the operators and substitutions of a shell in a word."""
    if operator := _OPERATOR.fullmatch(word):
        yield operator[1] or operator[2]
    if substitution := _SUBSTITUTION.search(word):
        yield substitution[1]


def _unheard(what: str) -> str:
    return f"no shell runs this, so {what}"


def _listed(names: Iterable[str]) -> str:
    """Return names, without duplicates, as an enumeration: `a, b and c`."""
    *others, last = dict.fromkeys(names) or [""]
    return f"{', '.join(others)} and {last}" if others else last
