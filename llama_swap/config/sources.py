"""Where a configuration is written: a file, the files of a directory, or both."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from attrs import frozen

from llama_swap.errors import ConfigError, Problem

ENDINGS: Final = {".yml", ".yaml"}

Stamp: TypeAlias = tuple[int, ...]
"""What of a file is another when it was written: its time, size, and place on the disk."""


@frozen
class Sources:
    """What `--config` and `--config-dir` say."""

    file: str | None = None
    directory: str | None = None
    base: Path = Path()
    """Paths are those from there on."""

    def __str__(self) -> str:
        return self.file or self.directory or ""

    @property
    def named(self) -> str:
        """Both, as the user names them."""
        return " and ".join(filter(None, (self.file, self.directory)))

    def paths(self) -> list[str]:
        """Return the files in the order in which they are read: the single one, then those of the directory by name.

        They are named as the user does, from `base` on.

        @raise ConfigError: there is none, or one twice.
        """
        if self.file is None and self.directory is None:
            raise ConfigError("", [Problem(None, "", "at least one of --config and --config-dir must be given")])
        try:
            found = self._in_directory()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise self._refusal(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if self.file is None:
            if not found:
                raise self._refusal("has no file that ends with .yml or .yaml")
            return found
        for path in found:
            if os.path.realpath(self.base / path) == os.path.realpath(self.base / self.file):
                raise ConfigError(path, [Problem(None, "", "is read twice: by --config, and by --config-dir")])
        return [self.file, *found]

    def stamps(self) -> dict[str, Stamp]:
        """Return what can be told of each file that is there, as `stamps_of` does, by its path with `base`."""
        try:
            paths = self._in_directory()
        except OSError:
            paths = []
        return stamps_of(str(self.base / path) for path in (paths if self.file is None else [self.file, *paths]))

    def _in_directory(self) -> list[str]:
        if self.directory is None:
            return []
        # Hidden are the files of editors and disks, such as Emacs' `.#a.yaml` and macOS' `._a.yaml`: no YAML in them.
        directory = self.directory and self.base / self.directory  # the empty name is none, and not that of `base`
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208
        paths = [os.path.join(self.directory, name) for name in names if Path(name).suffix in ENDINGS]  # noqa: PTH118
        return [path for path in paths if not (self.base / path).is_dir()]

    def _refusal(self, message: str) -> ConfigError:
        return ConfigError(self.directory or "", [Problem(None, "", message)])


def stamps_of(paths: Iterable[str]) -> dict[str, Stamp]:
    """Return what can be told of each file that is there, without reading it; symbolic links are followed."""
    stamps: dict[str, Stamp] = {}
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError:
            continue
        stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
    return stamps
