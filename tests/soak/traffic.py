"""Many clients at once, each of which does something, pauses, and does something else.

What a client does not expect is noted, and the next thing is done.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tests.blackbox import ProxyUnderTest

PATIENCE = 30.0
"""Seconds that any answer may take."""


class Traffic:
    """So many clients at once, each of which does something, pauses, and does something else."""

    def __init__(
        self, proxy: ProxyUnderTest, actions: Mapping[Action, int], *, clients: int, pause: float, seed: int
    ) -> None:
        """`actions` have their shares; `pause` is the mean time, in seconds, between two of a client."""
        self.proxy = proxy
        self.done: Counter[str] = Counter()
        self.unexplained: list[str] = []
        self.longest = 0.0
        """Seconds until the answer began, of any request that was not aborted."""
        self._actions = [each for each in actions for _ in range(actions[each])]
        self._pause = pause
        self.reloading = threading.Lock()
        self._gate = threading.Event()
        self._ended = False
        self._lock = threading.Lock()
        self._busy = 0
        self._threads = [
            threading.Thread(target=self._be_client, args=(random.Random(seed + number),), daemon=True)
            for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, seconds: float) -> None:
        """Let the clients loose for so long; return when each of them has finished what it was doing."""
        self._gate.set()
        time.sleep(seconds)
        self.hold()

    def hold(self) -> None:
        """Let nobody begin anything; return when nothing is under way."""
        self._gate.clear()
        deadline = time.monotonic() + 2 * PATIENCE
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._busy:
            self._note(f"{self._busy} clients are still waiting")

    def end(self) -> None:
        """Send the clients home."""
        self._ended = True
        self._gate.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _be_client(self, dice: random.Random) -> None:
        while not self._ended:
            self._gate.wait()
            with self._at_work():
                if self._gate.is_set() and not self._ended:
                    self._act(dice.choice(self._actions), dice)
            time.sleep(dice.expovariate(1 / self._pause))

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _act(self, action: Action, dice: random.Random) -> None:
        name = action.__name__
        try:
            action(self, dice)
        except Exception as error:  # noqa: BLE001 -- whatever happened, it should not have
            self._note(f"{name}: {type(error).__name__}: {error}")
        with self._lock:
            self.done[name] += 1

    def _note(self, what: str) -> None:
        with self._lock:
            self.unexplained.append(what)
            print(f"unexplained at {time.strftime('%H:%M:%S')}: {what[:400]}", flush=True)

    def waited(self, seconds: float) -> None:
        """Remember the longest wait."""
        with self._lock:
            self.longest = max(self.longest, seconds)


Action = Callable[[Traffic, random.Random], None]
