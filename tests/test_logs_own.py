"""Which of the proxy's own events become lines, and how their time is written."""

from __future__ import annotations

import os
import time

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.keys import TIME_FORMATS
from llama_swap.logs.own import OwnLines
from llama_swap.logs.times import time_format

WHEN = 1_700_000_005.123456  # 2023-11-14 22:13:25 UTC

EXPECTED = {
    "": "2023-11-14 22:13:25",
    "ansic": "Tue Nov 14 22:13:25 2023",
    "unixdate": "Tue Nov 14 22:13:25 UTC 2023",
    "rubydate": "Tue Nov 14 22:13:25 +0000 2023",
    "rfc822": "14 Nov 23 22:13 UTC",
    "rfc822z": "14 Nov 23 22:13 +0000",
    "rfc850": "Tuesday, 14-Nov-23 22:13:25 UTC",
    "rfc1123": "Tue, 14 Nov 2023 22:13:25 UTC",
    "rfc1123z": "Tue, 14 Nov 2023 22:13:25 +0000",
    "rfc3339": "2023-11-14T22:13:25Z",
    "rfc3339nano": "2023-11-14T22:13:25.123456Z",
    "kitchen": "10:13PM",
    "stamp": "Nov 14 22:13:25",
    "stampmilli": "Nov 14 22:13:25.123",
    "stampmicro": "Nov 14 22:13:25.123456",
    "stampnano": "Nov 14 22:13:25.123456000",
}


class OwnLinesTests(SynchronousTestCase):
    """`OwnLines`."""

    def test_levels(self) -> None:
        """Events below the level are left out, also after it has changed; Twisted's daily work is in none."""
        said: list[bytes] = []
        lines = OwnLines("warn", "")
        observer = lines.observer(said.append)
        for level in ("warn", "debug"):
            lines.follow(level, "kitchen")
            for namespace in ("llama_swap.x", "twisted.x"):
                log = Logger(namespace, observer=observer)
                for each in (LogLevel.debug, LogLevel.info, LogLevel.warn):
                    log.emit(each, "{namespace} {what}", namespace=namespace, what=each.name)
        texts = [line.decode().split("] ")[1].strip() for line in said]
        ours = [f"llama_swap.x {level}" for level in ("warn", "debug", "info", "warn")]
        self.assertEqual(sorted(texts), sorted([*ours, "twisted.x warn", "twisted.x warn"]))
        self.assertRegex(said[-1].decode(), r"^\d+:\d\d[AP]M \[")

    def test_times(self) -> None:
        """Each layout that the configuration knows is written as Go writes it."""
        self.assertEqual({*EXPECTED}, {"", *TIME_FORMATS})
        self.addCleanup(time.tzset)
        self.patch(os, "environ", {**os.environ})
        os.putenv("TZ", "UTC")
        time.tzset()
        self.addCleanup(os.unsetenv, "TZ")
        self.assertEqual({name: time_format(name)(WHEN) for name in EXPECTED}, EXPECTED)
