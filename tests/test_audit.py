"""tools/audit.py: what it says of a release, from what PyPI says."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support_processes import free_port
from tools.audit import is_clean

FLAW = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["1.1"], "withdrawn": None}


class Silent(SimpleHTTPRequestHandler):
    """Serves files, and says nothing about it."""

    def log_message(self, *arguments: object) -> None:
        """See `BaseHTTPRequestHandler.log_message`."""


class AuditTests(SynchronousTestCase):
    """An index of our own, made of files."""

    def setUp(self) -> None:
        """Serve an index that is empty."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=directory.name))
        self.addCleanup(server.server_close)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.index = f"http://127.0.0.1:{server.server_port}"

    def publish(self, page: str, version: str, *flaws: object) -> None:
        """Add a page that tells of a release."""
        file = self.root / page / "json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"info": {"version": version}, "vulnerabilities": flaws}))

    def judge(self, *releases: tuple[str, str], index: str = "") -> tuple[bool, list[str]]:
        """Return whether all is well, and the lines printed, of which the last is the sum."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            clean = is_clean(index or self.index, list(releases))
        return clean, printed.getvalue().splitlines()

    def test_clean(self) -> None:
        """A release is what counts, whatever is known against others."""
        self.publish("a/1.0", "1.0")
        self.publish("a", "1.1", FLAW)
        clean, lines = self.judge(("a", "1.0"))
        self.assertTrue(clean)
        self.assertEqual(lines[0], "a 1.0: none")

    def test_vulnerable(self) -> None:
        """What is known is named, with its remedy, unless it has been withdrawn."""
        self.publish("a/1.0", "1.0", FLAW, {**FLAW, "id": "PYSEC-2", "withdrawn": "2026-01-01T00:00:00Z"})
        self.publish("b/2.0", "2.0")
        clean, lines = self.judge(("a", "1.0"), ("b", "2.0"))
        self.assertFalse(clean)
        self.assertEqual(lines[0], "a 1.0: PYSEC-1 = CVE-1, mended in 1.1")
        self.assertEqual(lines[2], "2 packages: 1 with known vulnerabilities, 0 of which PyPI tells nothing")

    def test_newest(self) -> None:
        """An index without pages of releases still tells of the newest one."""
        self.publish("a", "1.1")
        self.publish("b", "2.0", {**FLAW, "fixed_in": []})
        self.assertTrue(self.judge(("a", "1.1"))[0])
        clean, lines = self.judge(("b", "2.0"))
        self.assertFalse(clean)
        self.assertEqual(lines[0], "b 2.0: PYSEC-1 = CVE-1, mended in no version")

    def test_not_known(self) -> None:
        """An older release, an unknown project, a page without a list: no answer is no good answer."""
        self.publish("a", "1.1")
        self.publish("b", "1.0")
        (self.root / "b" / "json").write_text('{"info": {"version": "1.0"}}')
        clean, lines = self.judge(("a", "1.0"), ("b", "1.0"), ("c", "1.0"))
        self.assertFalse(clean)
        self.assertEqual(
            lines[:3],
            [
                "a 1.0: not known: it tells only of 1.1",
                "b 1.0: not known: it has no list of vulnerabilities",
                "c 1.0: not known: it has neither the release nor the project",
            ],
        )

    def test_no_index(self) -> None:
        """Without a way to the index, nothing is known."""
        clean, lines = self.judge(("a", "1.0"), index=f"http://127.0.0.1:{free_port()}")
        self.assertFalse(clean)
        self.assertIn("Connection refused", lines[0])

    def test_nothing_to_install(self) -> None:
        """Nothing asked is nothing known."""
        self.assertFalse(self.judge()[0])
