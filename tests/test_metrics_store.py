"""Activity in SQLite, and the queries on it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import BadRequest, CannotStore
from llama_swap.metrics.activity import Activity
from llama_swap.metrics.histogram import histogram
from llama_swap.metrics.query import ActivityQuery
from llama_swap.metrics.rfc3339 import seconds_of, text_of
from llama_swap.metrics.store import Store, next_number, pages, prepare, try_file
from llama_swap.metrics.tokens import Tokens

NOON = 1_800_000_000


def entry(number: int, **changes: Any) -> Activity:
    """Return an entry, one minute after the one before it."""
    values: dict[str, Any] = {
        "ended": NOON + 60 * number,
        "model": "ab"[number % 2],
        "path": "/v1/chat/completions",
        "content_type": "application/json",
        "status": 200,
        "tokens": Tokens(input=number, output=10, output_per_second=float(number)),
        "duration_ms": 1000 - number,
        "error": "",
        "metadata": {},
    }
    return Activity(number=number, **{**values, **changes})


def query(**arguments: str | Sequence[str]) -> ActivityQuery:
    """Return what a URL with these arguments asks for."""
    lists = {name: [value] if isinstance(value, str) else value for name, value in arguments.items()}
    return ActivityQuery.from_arguments(lists)


class QueryTests(SynchronousTestCase):
    """Pages of activity."""

    def setUp(self) -> None:
        self.store = Store()
        self.store.add([entry(number) for number in range(1, 31)])
        self.addCleanup(self.store.close)

    def found(self, **arguments: str | Sequence[str]) -> tuple[list[int], int]:
        """Return the numbers on a page, and how many there are in all."""
        entries, total = self.store.page(query(**arguments))
        return [each.number for each in entries], total

    def test_latest_first(self) -> None:
        """Without arguments: the first page of 25, the latest first."""
        self.assertEqual(self.found(), (list(range(30, 5, -1)), 30))
        self.assertEqual(self.found(page="2"), ([5, 4, 3, 2, 1], 30))
        self.assertEqual(self.found(page="3"), ([], 30))
        self.assertEqual([pages(total, 25) for total in (0, 1, 25, 26)], [0, 1, 1, 2])

    def test_models(self) -> None:
        """One model, several, or none that exists."""
        self.assertEqual(self.found(model="a", limit="2"), ([30, 28], 15))
        self.assertEqual(self.found(model=["a", "b", " "], limit="1")[1], 30)
        self.assertEqual(self.found(model="'; DROP TABLE activity; --"), ([], 0))

    def test_between(self) -> None:
        """Bounds of time and of number belong to what is asked for."""
        times = {"start": text_of(NOON + 120), "end": text_of(NOON + 240)}
        self.assertEqual(self.found(**times), ([4, 3, 2], 3))
        self.assertEqual(self.found(min_id="4", max_id="5"), ([5, 4], 2))
        self.assertEqual(self.found(min_id="4", model="b", order="asc", limit="2"), ([5, 7], 13))

    def test_order(self) -> None:
        """Every column that may be sorted by, both ways."""
        self.assertEqual(self.found(sort="duration", order="ASC", limit="2")[0], [30, 29])
        self.assertEqual(self.found(sort="gen_speed", limit="2")[0], [30, 29])
        self.assertEqual(self.found(sort="model", order="asc", limit="2")[0], [2, 4])
        for column in ("id", "time", "req_path", "resp_status_code", "resp_content_type", "cached", "prompt"):
            self.assertEqual(len(self.found(sort=column)[0]), 25)

    def test_refused(self) -> None:
        """What makes no sense is refused, and says what would."""
        cases: Sequence[tuple[Mapping[str, str], str]] = (
            ({"limit": "0"}, "between 1 and 999"),
            ({"limit": "1000"}, "between 1 and 999"),
            ({"limit": "x"}, "limit"),
            ({"page": "0"}, "page must be >= 1"),
            ({"page": "-1"}, "page"),
            ({"sort": "id; DROP TABLE activity"}, "invalid sort column"),
            ({"order": "up"}, "order must be asc or desc"),
            ({"start": "yesterday"}, "RFC3339"),
            ({"end": "2026-11-22T10:00:00"}, "RFC3339"),
            ({"min_id": "1e3"}, "min_id"),
            ({"max_id": "0"}, "max_id must be >= 1"),
            ({"min_id": "9", "max_id": "8"}, "min_id must not be after max_id"),
            ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "start must not be after end"),
            ({"max_id": "9" * 30}, "max_id"),
        )
        for arguments, part in cases:
            self.assertIn(part, str(self.assertRaises(BadRequest, query, **arguments)))
        self.assertEqual(self.found(page="9" * 15, limit="999"), ([], 30))

    def test_entry(self) -> None:
        """What goes in comes out."""
        metadata = {"session_id": "s ü"}
        written = entry(31, tokens=Tokens(1, 2, 3, 4, 5, 6.5, 7.25), error="it broke: 'so'", metadata=metadata)
        self.store.add([written])
        [read], _ = self.store.page(query(limit="1"))
        self.assertEqual(read.as_json(has_capture=True), written.as_json(has_capture=True))
        self.assertEqual(read.as_json(has_capture=False)["tokens"]["prompt_per_second"], 6.5)

    def test_stats(self) -> None:
        """Sums leave out what is unknown."""
        self.store.add([entry(32, tokens=Tokens())])
        found = self.store.stats("")
        self.assertEqual((found["total_requests"], found["total_output_tokens"]), (31, 300))
        self.assertEqual((found["total_input_tokens"], found["total_cache_tokens"]), (sum(range(31)), 0))
        self.assertEqual((found["gen_histogram"]["min"], found["gen_histogram"]["max"]), (1, 30))
        self.assertIsNone(found["prompt_histogram"])
        self.assertEqual(self.store.stats("b")["total_requests"], 15)
        self.assertEqual(self.store.stats("no such")["total_input_tokens"], 0)

    def test_odd(self) -> None:
        """An entry that the table cannot hold is lost alone."""
        odd = [entry(32, model="p/\ud800"), entry(34, tokens=Tokens(input=1 << 63))]
        self.assertEqual(self.store.add([entry(31), odd[0], entry(33), odd[1], entry(35)]), 2)
        self.assertEqual(self.found(limit="4"), ([35, 33, 31, 30], 33))
        self.assertEqual(self.store.add([entry(36)]), 0)

    def test_most(self) -> None:
        """In memory only the latest are kept."""
        store = Store(most=10)
        self.addCleanup(store.close)
        for number in range(1, 31):
            store.add([entry(number)])
        self.assertEqual([each.number for each in store.page(query())[0]], list(range(30, 20, -1)))


class FileTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_lasts(self) -> None:
        """What was written is there again, and numbers go on."""
        prepare(str(self.path))
        self.assertEqual(next_number(str(self.path)), 1)
        store = Store(str(self.path))
        store.add([entry(1), entry(2)])
        store.close()
        self.assertEqual(next_number(str(self.path)), 3)
        again = Store(str(self.path))
        self.addCleanup(again.close)
        self.assertEqual(again.page(query())[1], 2)

    def test_for_the_owner(self) -> None:
        """Nobody else may read it, nor what SQLite keeps beside it, whatever was there before."""
        self.path.touch(0o644)
        prepare(str(self.path))
        store = Store(str(self.path))
        self.addCleanup(store.close)
        store.add([entry(1)])
        files = list(self.path.parent.glob(f"{self.path.name}*"))
        self.assertEqual(len(files), 3, files)
        self.assertEqual({stat.S_IMODE(file.stat().st_mode) for file in files}, {0o600})

    def test_all_or_none(self) -> None:
        """A batch that cannot be written leaves no part of it, as where somebody else has used one of its numbers."""
        prepare(str(self.path))
        store = Store(str(self.path))
        self.addCleanup(store.close)
        store.add([entry(2)])
        error = str(self.assertRaises(CannotStore, store.add, [entry(1), entry(2)]))
        self.assertIn("another llama-swap writes to it", error)
        self.assertEqual(store.page(query())[1], 1)

    def test_broken(self) -> None:
        """What has become unreadable meanwhile is told, with the file, to whoever reads or writes."""
        prepare(str(self.path))
        store = Store(str(self.path))
        self.addCleanup(store.close)
        self.path.write_bytes(b"no database" * 1000)
        for use in (lambda: store.page(query()), lambda: store.stats(""), lambda: store.add([entry(1)])):
            error = str(self.assertRaises(CannotStore, use))
            self.assertTrue(error.startswith(f"store.path: {self.path} cannot be used: "), error)

    def test_of_the_original(self) -> None:
        """A file whose table has more columns by now, and rows without most values, can be used."""
        with sqlite3.connect(self.path) as other:
            prepare(str(self.path))
            other.execute("ALTER TABLE activity ADD COLUMN src TEXT NOT NULL DEFAULT ''")
            other.execute("INSERT INTO activity (ts_created, model_id, src) VALUES (?, 'm', '10.0.0.1')", [NOON])
        other.close()
        self.assertEqual(next_number(str(self.path)), 2)
        store = Store(str(self.path))
        self.addCleanup(store.close)
        store.add([entry(2)])
        self.assertEqual([each.model for each in store.page(query())[0]], ["a", "m"])

    def test_unusable(self) -> None:
        """What cannot be written is told with its path and the reason."""
        self.path.write_bytes(b"no database" * 100)
        for path in (str(self.path), "/nowhere/activity.db", "/proc/activity.db"):
            error = str(self.assertRaises(CannotStore, prepare, path))
            self.assertTrue(error.startswith(f"store.path: {path} cannot be used: "), error)

    def test_tried(self) -> None:
        """What cannot be used is found by trying as well, and told in the same words, without making or changing it."""
        self.path.write_bytes(b"no database" * 100)
        for path in (str(self.path), "/nowhere/activity.db", "/proc/activity.db", str(self.path.parent)):
            tried = str(self.assertRaises(CannotStore, try_file, path))
            self.assertEqual(tried, str(self.assertRaises(CannotStore, prepare, path)))
        self.assertIn("there is no directory /nowhere", str(self.assertRaises(CannotStore, try_file, "/nowhere/x.db")))

    def test_of_somebody_else(self) -> None:
        """A file of another user cannot be made private, however much may be done with it; both ways say so."""
        self.path.touch(0o666)
        self.patch(os, "geteuid", lambda: self.path.stat().st_uid + 1)
        for use in (prepare, try_file):
            error = str(self.assertRaises(CannotStore, use, str(self.path)))
            self.assertEqual(error, f"store.path: {self.path} cannot be used: it belongs to another user")

    def test_trying_changes_nothing(self) -> None:
        """Neither a file that is missing or empty nor one that is in use is touched by trying."""
        try_file(str(self.path))
        self.assertEqual(list(self.path.parent.iterdir()), [])
        self.path.touch()
        try_file(str(self.path))
        self.assertEqual(self.path.read_bytes(), b"")
        prepare(str(self.path))
        store = Store(str(self.path))
        self.addCleanup(store.close)
        store.add([entry(1)])
        before = {file: file.read_bytes() for file in self.path.parent.iterdir()}
        try_file(str(self.path))
        self.assertEqual({file: file.read_bytes() for file in self.path.parent.iterdir()}, before)


class HistogramTests(SynchronousTestCase):
    """How values are spread."""

    def test_bins(self) -> None:
        """Every value is in one bin; percentiles lie between neighbours."""
        found = histogram([float(number) for number in range(1, 101)])
        assert found is not None
        self.assertEqual((sum(found["bins"]), len(found["bins"])), (100, 8))
        self.assertEqual((found["p50"], found["p95"], found["binSize"]), (50.5, 95.05, 99 / 8))

    def test_few(self) -> None:
        """No value is no histogram; equal ones are in one bin."""
        self.assertIsNone(histogram([]))
        found = histogram([2.0, 2.0])
        assert found is not None
        self.assertEqual((found["bins"], found["binSize"], found["p99"]), ([2], 0, 2))


class TimeTests(SynchronousTestCase):
    """RFC 3339."""

    def test_round_trip(self) -> None:
        """Seconds to text and back."""
        self.assertEqual(text_of(0), "1970-01-01T00:00:00Z")
        self.assertEqual(text_of(0.25), "1970-01-01T00:00:00.250Z")
        self.assertEqual(seconds_of("1970-01-01T01:00:00.5+01:00"), 0.5)
        self.assertEqual(seconds_of("1970-01-01T01:00:00 01:00"), 0)
