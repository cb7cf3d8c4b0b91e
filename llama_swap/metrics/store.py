"""Stores activity in SQLite, in a file or in memory.

All of this may block, so it runs in one worker thread, except for `prepare`, `next_number` and `try_file`, which belong
to the start of the proxy.  The table is that of the original llama-swap, whose files can be used as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from errno import EPERM
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from llama_swap.errors import CannotStore
from llama_swap.metrics.activity import Activity
from llama_swap.metrics.histogram import histogram
from llama_swap.metrics.query import ActivityQuery
from llama_swap.metrics.tokens import Tokens

if TYPE_CHECKING:  # SQLite is imported when it is needed, which without a file may be never
    from sqlite3 import Connection, Row

IN_MEMORY: Final = ":memory:"
NEWEST_SPEEDS: Final = 10_000
"""The most speeds in a histogram, the latest ones."""
UNFIT: Final = (UnicodeEncodeError, OverflowError)
"""What SQLite's module raises for a text that UTF-8 cannot encode, and for a number of more than 64 bits."""
BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait while another program writes to the file."""

_COLUMNS: Final = (
    "id",
    "ts_created",
    "model_id",
    "req_path",
    "resp_content_type",
    "resp_status_code",
    "cache_tokens",
    "draft_tokens",
    "draft_acc_tokens",
    "input_tokens",
    "output_tokens",
    "prompt_per_second",
    "tokens_per_second",
    "duration_ms",
    "error_msg",
    "metadata_json",
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS activity (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ts_created INTEGER NOT NULL,
    model_id TEXT NOT NULL,
    req_path TEXT NOT NULL DEFAULT '',
    resp_content_type TEXT NOT NULL DEFAULT '',
    resp_status_code INTEGER NOT NULL DEFAULT 0,
    cache_tokens INTEGER NOT NULL DEFAULT 0,
    draft_tokens INTEGER NOT NULL DEFAULT 0,
    draft_acc_tokens INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    prompt_per_second REAL NOT NULL DEFAULT 0,
    tokens_per_second REAL NOT NULL DEFAULT 0,
    duration_ms INTEGER NOT NULL DEFAULT 0,
    error_msg TEXT NOT NULL DEFAULT '',
    metadata_json TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS idx_activity_created_id ON activity (ts_created DESC, id DESC);
CREATE INDEX IF NOT EXISTS idx_activity_model_created_id ON activity (model_id, ts_created DESC, id DESC);
"""
_INSERT: Final = f"INSERT INTO activity ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_TOTALS: Final = """
SELECT COUNT(*) AS total_requests,
       COALESCE(SUM(MAX(input_tokens, 0)), 0) AS total_input_tokens,
       COALESCE(SUM(MAX(output_tokens, 0)), 0) AS total_output_tokens,
       COALESCE(SUM(MAX(cache_tokens, 0)), 0) AS total_cache_tokens
FROM activity WHERE ? IN ('', model_id)
"""


def prepare(path: str) -> None:
    """Create the database if needed, accessible by its owner only.

    @raise CannotStore: it cannot be written, or is no database.
    """
    with _told(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _check_owner(path)
        os.chmod(path, 0o600)  # noqa: PTH101 - beside os.open
        _open(path).close()


def next_number(path: str) -> int:
    """Return the number of the next entry in a database that `prepare` has made ready.

    @raise CannotStore: it cannot be read.
    """
    with _told(path), closing(_open(path)) as connection:
        return int(connection.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM activity").fetchone()[0])


def try_file(path: str) -> None:
    """Check whether `prepare` would succeed, without creating or changing the file, which may be in use.

    @raise CannotStore: it cannot be written, or is no database.
    """
    from sqlite3 import connect
    from tempfile import TemporaryFile

    file = Path(path)
    with _told(path):
        TemporaryFile(dir=file.parent).close()  # SQLite puts its own files beside the database
        if not file.exists():
            return
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        _check_owner(path)
        with closing(connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")


def _check_owner(path: str) -> None:
    """Refuse a file that others can read and whose mode we cannot change."""
    if os.geteuid() not in {0, Path(path).stat().st_uid}:
        raise PermissionError(EPERM, "it belongs to another user")


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Translate errors with the file at `path`.

    @raise CannotStore: there was one.
    """
    from sqlite3 import Error, IntegrityError

    try:
        yield
    except IntegrityError:  # it has an entry with our next number already
        why = "another llama-swap writes to it as well; give each a file of its own"
        raise CannotStore(f"store.path: {path} cannot be used: {why}") from None
    except FileNotFoundError:
        directory = Path(path).absolute().parent
        raise CannotStore(f"store.path: {path} cannot be used: there is no directory {directory}") from None
    except (OSError, Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CannotStore(f"store.path: {path} cannot be used: {reason}") from None


def _open(path: str) -> Connection:
    from sqlite3 import Row, connect

    connection = connect(path, timeout=BUSY_TIMEOUT, check_same_thread=False)
    connection.row_factory = Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # with WAL, enough if the process is killed
    connection.executescript(_SCHEMA)
    return connection


@define
class Store:
    """The table of activity; the database is opened on first use."""

    _path: str = IN_MEMORY
    most: int | None = None
    """The most entries that are kept; None: all."""
    _connection: Connection | None = None

    def add(self, entries: Iterable[Activity]) -> int:
        """Write entries; return how many of them SQLite cannot represent, and so were left out.

        @raise CannotStore: the file cannot be written; then no entry was.
        """
        rows, odd = [_row(entry) for entry in entries], 0
        with _told(self._path), self._opened() as connection:
            try:
                connection.executemany(_INSERT, rows)
            except UNFIT:
                connection.rollback()
                odd = sum(not _fits(connection, row) for row in rows)
            if self.most is not None:
                newest = "(SELECT MAX(id) FROM activity)"
                connection.execute(f"DELETE FROM activity WHERE id <= {newest} - ?", [self.most])  # noqa: S608
        return odd

    def page(self, query: ActivityQuery) -> tuple[list[Activity], int]:
        """Return a page of entries, and the total number on all pages.

        @raise CannotStore: the file cannot be read.
        """
        where, values = query.where()  # contains no text from outside
        with _told(self._path):
            connection = self._opened()
            [total] = connection.execute(f"SELECT COUNT(*) FROM activity {where}", values).fetchone()  # noqa: S608
            rows = connection.execute(
                f"SELECT * FROM activity {where} ORDER BY {query.order} LIMIT ? OFFSET ?",  # noqa: S608
                [*values, query.limit, (query.page - 1) * query.limit],
            )
            return [_entry(row) for row in rows], total

    def stats(self, model: str) -> dict[str, Any]:
        """Return sums over all entries, or those of one model, and histograms of the speeds.

        @raise CannotStore: the file cannot be read.
        """
        with _told(self._path):
            connection = self._opened()
            return {
                **dict(connection.execute(_TOTALS, [model]).fetchone()),
                "prompt_histogram": histogram(self._speeds(connection, "prompt_per_second", model)),
                "gen_histogram": histogram(self._speeds(connection, "tokens_per_second", model)),
            }

    def close(self) -> None:
        """Write everything into the main file, and close it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _speeds(self, connection: Connection, column: str, model: str) -> list[float]:
        rows = connection.execute(
            f"SELECT {column} FROM activity WHERE ? IN ('', model_id) AND {column} > 0 ORDER BY id DESC LIMIT ?",  # noqa: S608
            [model, NEWEST_SPEEDS],
        )
        return [speed for [speed] in rows]

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = _open(self._path)
        return self._connection


def pages(total: int, limit: int) -> int:
    """Return the number of pages for `total` entries, `limit` on each."""
    return ceil(total / limit)


def _fits(connection: Connection, row: tuple[Any, ...]) -> bool:
    """Write one row; return whether SQLite can represent it."""
    try:
        connection.execute(_INSERT, row)
    except UNFIT:
        return False
    return True


def _row(entry: Activity) -> tuple[Any, ...]:
    tokens = entry.tokens
    return (
        entry.number,
        int(entry.ended),
        entry.model,
        entry.path,
        entry.content_type,
        entry.status,
        tokens.cached,
        tokens.drafted,
        tokens.accepted,
        tokens.input,
        tokens.output,
        tokens.input_per_second,
        tokens.output_per_second,
        entry.duration_ms,
        entry.error,
        json.dumps(entry.metadata) if entry.metadata else "",
    )


def _entry(row: Row) -> Activity:
    return Activity(
        row["id"],
        row["ts_created"],
        row["model_id"],
        row["req_path"],
        row["resp_content_type"],
        row["resp_status_code"],
        Tokens(
            row["input_tokens"],
            row["output_tokens"],
            row["cache_tokens"],
            row["draft_tokens"],
            row["draft_acc_tokens"],
            row["prompt_per_second"],
            row["tokens_per_second"],
        ),
        row["duration_ms"],
        row["error_msg"],
        json.loads(row["metadata_json"] or "{}"),
    )
