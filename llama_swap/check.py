"""`llama-swap check`: what is wrong with a configuration, and its effective values.

It does what a start does before it listens, but changes nothing, so it can run beside a running proxy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from llama_swap.config.contents import contents, counted
from llama_swap.config.show import render_effective
from llama_swap.errors import ConfigError, Problem, SwapError
from llama_swap.listening.address import OPEN_TO_ALL, will_be_wide
from llama_swap.metrics.store import try_file
from llama_swap.settings import Flags, Settings, explained, problems_here


def check(flags: Flags, *, show: Callable[[str], object] | None, with_defaults: bool = False) -> int:
    """Print the remarks about a configuration; return the exit status.

    If there is no error, `show` gets its effective values as YAML, with or without defaults.  The remarks come after
    that, where a person at a terminal sees them, on stderr: a line for each note, warning and error, and a summary.
    """
    what = flags.sources.named
    remarks: list[str] = []
    warnings = 0
    errors: list[SwapError] = []
    try:
        settings = Settings.read(flags)
        path = str(settings.sources)
        found = (*settings.loaded.warnings, *_warnings(settings, flags))
        remarks += [f"note: {note.render(path)}" for note in settings.loaded.notes]
        remarks += [f"warning: {warning.render(path)}" for warning in found]
        warnings = len(found)
        errors += _unusable(settings)
    except SwapError as error:
        errors.append(error)
    if errors:
        remarks += map(explained, errors)
        refused = [error for error in errors if isinstance(error, ConfigError)]
        warnings += sum(len(error.warnings) for error in refused)
        problems = len(errors) - len(refused) + sum(len(error.problems) for error in refused)
        verdict = f"{what} cannot be used: {counted(error=problems, warning=warnings)}"
        print(*remarks, verdict, sep="\n", file=sys.stderr)
        return 1
    if show is not None:
        show(render_effective(settings.config, with_defaults=with_defaults))
    verdict = f"can be used, with {counted(warning=warnings)}" if warnings else "is fine"
    print(*remarks, f"{what} {verdict}: {contents(settings.config)}", sep="\n", file=sys.stderr)
    return 0


def _warnings(settings: Settings, flags: Flags) -> Iterator[Problem]:
    """Yield the remarks about the configuration that depend on this machine."""
    yield from problems_here(settings.loaded)
    if not settings.config.api_keys and will_be_wide(settings.address.text):
        if flags.listen:
            yield Problem(None, "", OPEN_TO_ALL, f"--listen {flags.listen}")
        else:
            yield settings.loaded.at("listen", OPEN_TO_ALL)


def _unusable(settings: Settings) -> Iterator[SwapError]:
    """Yield what a start would fail with, of what the configuration names: the address, certificates, the database."""
    try:
        if not settings.address.is_given:  # a socket passed by systemd exists only in the service
            with settings.blaming("listen"):
                settings.address.endpoint(None)
    except SwapError as error:
        yield error
    try:
        if (store := settings.config.store.path) is not None:
            with settings.blaming("store.path"):
                try_file(store)
    except SwapError as error:
        yield error
