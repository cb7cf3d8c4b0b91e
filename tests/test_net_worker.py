"""Work in another thread."""

from __future__ import annotations

from threading import Thread, current_thread

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from llama_swap.net.worker import NoThread, Worker


class WorkerTests(TestCase):
    """`Worker`, with real threads."""

    timeout = 20

    async def test_one_thread(self) -> None:
        """Everything is done in one thread, which is not ours."""
        worker = Worker(reactor, "files")
        threads = {await worker(current_thread) for _ in range(3)}
        self.assertEqual(len(threads - {current_thread()}), 1)

    async def test_no_thread(self) -> None:
        """Where no thread can be started, that is an error of what was to be done, and not of who asked; later, it may
        be done."""
        worker = Worker(reactor, "files")

        def fail(thread: Thread) -> None:
            raise RuntimeError("can't start new thread")

        failing = self.patch(Thread, "start", fail)
        refused = worker(current_thread)
        failing.restore()
        await self.assertFailure(refused, NoThread)
        self.assertIsNot(await worker(current_thread), current_thread())
