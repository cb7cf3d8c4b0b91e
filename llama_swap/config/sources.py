"""Where the configuration is read from: a file, the files of a directory, or both."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from attrs import frozen

from llama_swap.errors import ConfigError, Problem

ENDINGS: Final = {".yml", ".yaml"}

Stamp: TypeAlias = tuple[int, ...]
"""What changes when a file is written: modification time in ns, size, inode and device."""


@frozen
class Sources:
    """The values of `--config` and `--config-dir`."""

    file: str | None = None
    directory: str | None = None
    base: Path = Path()
    """The directory to which paths are relative."""

    def __str__(self) -> str:
        return self.file or self.directory or ""

    @property
    def named(self) -> str:
        """Both, as the user wrote them, for messages."""
        return " and ".join(filter(None, (self.file, self.directory)))

    def paths(self) -> list[str]:
        """Return the files in the order in which they are read: the single one, then those of the directory by name.

        Paths are as the user wrote them, relative to `base`.

        @raise ConfigError: there is no file, one is there twice, or the directory cannot be read.
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
            if _is_same_file(self.base / path, self.base / self.file):
                raise ConfigError(path, [Problem(None, "", "is read twice: by --config, and by --config-dir")])
        return [self.file, *found]

    def stamps(self) -> dict[str, Stamp]:
        """Return the stamp of each file that exists, by its path joined to `base`."""
        try:
            paths = self._in_directory()
        except OSError:
            paths = []
        return stamps_of(str(self.base / path) for path in (paths if self.file is None else [self.file, *paths]))

    def _in_directory(self) -> list[str]:
        if self.directory is None:
            return []
        # Hidden files are those of editors and file systems, such as `.#a.yaml` of Emacs and `._a.yaml` of macOS.
        directory = self.directory and self.base / self.directory  # an empty name must fail, and not mean `base`
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208
        paths = [os.path.join(self.directory, name) for name in names if Path(name).suffix in ENDINGS]  # noqa: PTH118
        return [path for path in paths if not (self.base / path).is_dir()]

    def _refusal(self, message: str) -> ConfigError:
        return ConfigError(self.directory or "", [Problem(None, "", message)])


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them cannot be read, which is told when that is tried
        return False


def stamps_of(paths: Iterable[str]) -> dict[str, Stamp]:
    """Return the stamp of each file that exists, by path; symbolic links are followed."""
    stamps: dict[str, Stamp] = {}
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError:
            continue
        stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
    return stamps
