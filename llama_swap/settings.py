"""The settings from the command line and the configuration, for the console script and for twistd alike."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve, field, frozen

from llama_swap.config.load import Loaded, load_config
from llama_swap.config.model import Config
from llama_swap.config.sources import Sources, Stamp, stamps_of
from llama_swap.errors import CannotListen, ConfigError, Problem, SwapError
from llama_swap.listening.address import DEFAULT_ADDRESS, DEFAULT_TLS_ADDRESS, Address, anchored
from llama_swap.listening.certificate import Certificate
from llama_swap.upstream.needs import missing

_YES = frozenset({"1", "t", "true"})
_NO = frozenset({"0", "f", "false"})
"""The values with which Go's programs switch a flag off, in upper or lower case."""


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was removed, which does not matter if all paths are absolute
        return Path()


@frozen
class Flags:
    """The options of the command line."""

    config: str | None = None
    config_dir: str | None = None
    watch_config: bool = False
    listen: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    base: Path = field(factory=_here)
    """The directory at the start: all paths here and in the files are relative to it, also once twistd has left it."""

    @property
    def sources(self) -> Sources:
        """Where the configuration is written."""
        return Sources(self.config, self.config_dir, self.base)

    @property
    def certificate(self) -> Certificate | None:
        """The certificate for TLS with its key; None: no TLS.

        @raise CannotListen: only one of them is given.
        """
        if self.tls_cert_file and self.tls_key_file:
            return Certificate(str(self.base / self.tls_cert_file), str(self.base / self.tls_key_file))
        if self.tls_cert_file or self.tls_key_file:
            raise CannotListen("--tls-cert-file and --tls-key-file belong together: give both, or neither")
        return None

    def address(self, config: Config) -> Address:
        """Return where to listen; the command line has precedence over `config`.

        @raise CannotListen: only one of certificate and key is given.
        """
        certificate = self.certificate
        text = self.listen or config.listen or (DEFAULT_TLS_ADDRESS if certificate else DEFAULT_ADDRESS)
        return Address(anchored(text, self.base), certificate)


@frozen
class Settings:
    """Everything that is known when the proxy starts."""

    flags: Flags
    loaded: Loaded
    address: Address
    watched: Mapping[str, Stamp] | None = None
    """The stamps of the files when they were read, if they are watched."""

    @classmethod
    def read(cls, flags: Flags) -> Settings:
        """Read the configuration.

        @raise SwapError: it cannot be used.
        """
        watched = flags.sources.stamps() if flags.watch_config else None
        loaded = load(flags.sources)
        address = flags.address(loaded.config)
        return cls(flags, loaded, address, None if watched is None else watched | stamps_of(address.files))

    @property
    def sources(self) -> Sources:
        """Where the configuration is written."""
        return self.flags.sources

    @property
    def config(self) -> Config:
        """The configuration that was read."""
        return self.loaded.config

    @contextmanager
    def blaming(self, key: str) -> Iterator[None]:
        """Report what cannot be used within as a problem of `key`, at its place, if it is the file that says so.

        @raise SwapError: something cannot be used.
        """
        try:
            yield
        except SwapError as error:
            problem = self.loaded.at(key, str(error).removeprefix(f"{key}: "))
            is_overruled = key == "listen" and (self.flags.listen or self.flags.tls_cert_file)
            if problem.line is None or is_overruled:
                raise
            raise ConfigError(str(self.sources), [problem]) from None

    def stamps(self, address: Address) -> dict[str, Stamp]:
        """Return the stamps of the files that a reload would read now, where the proxy listens at `address`."""
        return self.sources.stamps() | stamps_of(address.files)


def load(sources: Sources, ports: Mapping[str, int] | None = None) -> Loaded:
    """Read the configuration; `ports` has the current `${PORT}` of models, which they keep if possible.

    @raise ConfigError: it cannot be used.
    """
    return load_config(*sources.paths(), environ=os.environ, ports=ports or {}, base=sources.base)


def problems_here(loaded: Loaded) -> Iterator[Problem]:
    """Yield what a configuration needs, but this machine lacks, such as programs.  This may block."""
    for problem, models in missing(loaded.config).items():
        path = f"models.{models[0]}.cmd"
        place = loaded.at(path, problem)
        is_told = place.path == path and len(models) == 1
        yield place if is_told else evolve(place, message=f"{problem} (for {', '.join(models)})")


def explained(error: SwapError) -> str:
    """Return the lines to print for an error that ends the program."""
    if not isinstance(error, ConfigError):
        return f"error: {error}"
    told = [f"warning: {warning.render(error.filename)}" for warning in error.warnings]
    return "\n".join([*told, *(f"error: {problem.render(error.filename)}" for problem in error.problems)])


def with_double_dashes(argv: Sequence[str]) -> Iterator[str]:
    """Yield `argv` with `-config` as `--config`, and flags with a value resolved, as Go's programs read them."""
    for word in argv:
        dashed = f"-{word}" if re.match(r"-[a-z]{2}", word) else word
        name, _, value = dashed.partition("=")
        if name not in {"--watch-config", "--validate", "--version"} or value.lower() not in _YES | _NO:
            yield dashed
        elif value.lower() in _YES:
            yield name
