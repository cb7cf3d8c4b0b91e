"""`llama-swap check`: what is wrong with a configuration, and what it comes to.

It goes as far as a start would go before it listens, but changes nothing, and so does no harm beside a running proxy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from shutil import which

from llama_swap.config.model import Config
from llama_swap.config.show import render_effective
from llama_swap.errors import ConfigError, Problem, SwapError
from llama_swap.metrics.store import try_file
from llama_swap.settings import Flags, Settings, explained


def check(flags: Flags, *, shows_all: bool) -> int:
    """Print what is to be said about a configuration; return the exit status.

    That is a line for each note, warning and error, on stderr, and a summary; or, with `shows_all` and without errors,
    the effective configuration instead of the summary.
    """
    what = " and ".join(filter(None, (flags.config, flags.config_dir)))
    warnings = 0
    try:
        settings = Settings.read(flags)
        warnings = _remark(settings)
        _try_what_a_start_needs(settings)
    except SwapError as error:
        problems = 1
        if isinstance(error, ConfigError):
            problems, warnings = len(error.problems), len(error.warnings)
        print(explained(error), file=sys.stderr)
        print(f"{what} cannot be used: {_listed(error=problems, warning=warnings)}", file=sys.stderr)
        return 1
    if shows_all:
        print(render_effective(settings.config), end="")
    else:
        verdict = f"can be used, with {_listed(warning=warnings)}" if warnings else "is fine"
        print(f"{what} {verdict}: {_contents(settings.config)}")
    return 0


def _remark(settings: Settings) -> int:
    """Print what is no error; return how many warnings that were."""
    loaded, path = settings.loaded, str(settings.sources)
    for note in loaded.notes:
        print(f"note: {note.render(path)}", file=sys.stderr)
    warnings = (*loaded.warnings, *_missing_programs(loaded.config))
    for warning in warnings:
        print(f"warning: {warning.render(path)}", file=sys.stderr)
    return len(warnings)


def _missing_programs(config: Config) -> Iterator[Problem]:
    """Yield a warning for each program that this machine, as it is now, does not have."""
    missing: dict[str, list[str]] = {}
    for model in config.models.values():
        program = next(iter(model.cmd), None)  # those without one have been told
        if program and which(program) is None and which(program, path=model.env.get("PATH")) is None:
            missing.setdefault(program, []).append(model.id)
    for program, models in missing.items():
        needed = f"for {', '.join(models)}; install it, or write its full path"
        yield Problem(None, "models", f"there is no program {program!r} here, {needed}")


def _try_what_a_start_needs(settings: Settings) -> None:
    """Look at what the configuration names outside itself.

    @raise SwapError: it cannot be used.
    """
    if not settings.address.text.startswith("systemd:"):  # whose sockets only the service gets
        settings.address.endpoint(None)
    if (store := settings.config.store.path) is not None:
        try_file(store)


def _contents(config: Config) -> str:
    """Return what there is, in numbers."""
    return _listed(
        model=len(config.models),
        profile=len(config.profiles) + len(config.pin_profiles),
        group=len(config.routing.groups),
        selector=len(config.selectors),
        peer=len(config.peers),
    )


def _listed(**numbers: int) -> str:
    return ", ".join(f"{number} {what}{'s' * (number > 1)}" for what, number in numbers.items() if number)
