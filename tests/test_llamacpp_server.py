"""`llama-swap-llamacpp`: llama.cpp's server with a command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support_client import Stream, at_once, send
from tests.support_llamacpp import ServerUnderTest, environment, fetched_model, run_server
from tests.support_processes import free_port

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 16}
ENDLESS = {"prompt": "Once upon a time", "max_tokens": 100_000, "ignore_eos": True}


class RefusalTests(SynchronousTestCase):
    """What cannot be served is told in one line, with exit status 1 and no traceback."""

    def assert_refused(self, ended: subprocess.CompletedProcess[str], reason: str) -> None:
        """Check the status and the last line."""
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn(reason, ended.stderr.splitlines()[-1])
        self.assertNotIn("Traceback", ended.stderr)

    def test_no_file(self) -> None:
        """A model that is not there, or that is a directory."""
        self.assert_refused(run_server("-m", "/nonexistent.gguf"), "/nonexistent.gguf: No such file or directory")
        self.assert_refused(run_server("-m", "/usr"), "cannot read the model /usr: Is a directory")

    def test_no_model(self) -> None:
        """A file that is something else."""
        self.assert_refused(run_server("-m", __file__), "is not a GGUF model")

    def test_port_taken(self) -> None:
        """An address that somebody has."""
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file, socket.create_server(("127.0.0.1", 0)) as other:
            file.write(b"GGUF")
            file.flush()
            port = str(other.getsockname()[1])
            ended = run_server("-m", file.name, "--port", port)
        self.assert_refused(ended, f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another")

    def test_not_installed(self) -> None:
        """Without llama.cpp, how to get it."""
        program = "import sys; sys.modules['xllamacpp'] = None; from llama_swap.llamacpp.server import main; main()"
        ended = subprocess.run(
            [sys.executable, "-c", program, "-m", "x"], env=environment(), capture_output=True, text=True, check=False
        )
        self.assert_refused(ended, "pip install xllamacpp")

    def test_damaged(self) -> None:
        """A file that is cut off: llama.cpp's own words, then ours."""
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            with fetched_model().open("rb") as whole:
                file.write(whole.read(3_000_000))
            file.flush()
            ended = run_server("-m", file.name, "--port", str(free_port()))
        self.assertIn("model is corrupted or incomplete", ended.stderr)
        self.assert_refused(ended, f"llama.cpp could not serve {file.name}")


class ServingTests(SynchronousTestCase):
    """llama.cpp's routes, with a real model."""

    def test_routes(self) -> None:
        """Chat, stream, completion, models, slots; and the log line that people grep for."""
        with ServerUnderTest("--chat-template", "chatml", "-a", "smol", "-c", "512", "--temp", "0") as server:
            chat = server.ask("POST", "/v1/chat/completions", QUESTION).json()
            self.assertEqual(chat["choices"][0]["message"]["content"], "The capital of France is Paris.")
            with Stream(*send(server.port, "POST", "/v1/chat/completions", {**QUESTION, "stream": True})) as stream:
                events = [data for _, data in stream.events()]
            self.assertEqual(events[-1], b"[DONE]")
            self.assertEqual(self.streamed(events[:-1]), "The capital of France is Paris.")
            completion = server.ask("POST", "/v1/completions", {"prompt": "1, 2, 3,", "max_tokens": 4}).json()
            self.assertIn("4", completion["choices"][0]["text"])
            self.assertEqual(server.ask("GET", "/v1/models").json()["data"][0]["id"], "smol")
            self.assertEqual(server.ask("GET", "/slots").json()[0]["n_ctx"], 512)
            server.wait_for_log("eval time =")
            server.process.terminate()
            self.assertEqual(server.process.wait(5), 0)

    def streamed(self, events: list[bytes]) -> str:
        """Return the text of a streamed chat."""
        deltas: list[Any] = [json.loads(event)["choices"][0]["delta"] for event in events]
        return "".join(delta.get("content") or "" for delta in deltas)

    def test_embeddings(self) -> None:
        """One vector for a text, of length one."""
        with ServerUnderTest("--embeddings", "--pooling", "mean", "-c", "512") as server:
            answer = server.ask("POST", "/v1/embeddings", {"input": "Hello"}).json()
        vector = answer["data"][0]["embedding"]
        self.assertEqual(len(vector), 576)
        self.assertAlmostEqual(sum(number * number for number in vector), 1.0, places=3)

    def test_slots_are_saved(self) -> None:
        """A prompt cache lands in the directory of --slot-save-path, with or without a slash at its end."""
        with tempfile.TemporaryDirectory() as directory, ServerUnderTest("--slot-save-path", directory) as server:
            server.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 1})
            server.ask("POST", "/slots/0?action=save", {"filename": "slot.bin"})
            self.assertTrue((Path(directory) / "slot.bin").exists())


class StopTests(SynchronousTestCase):
    """TERM ends the server at once, with 0, whatever it is doing."""

    def test_while_loading(self) -> None:
        """While llama.cpp holds Python's global lock."""
        with ServerUnderTest(wait=False) as server:
            server.wait_for_log("loading model")
            self.stop(server)

    def test_while_streaming(self) -> None:
        """In the middle of a stream that would not end by itself."""
        with ServerUnderTest("-c", "512") as server:
            endless = {**ENDLESS, "stream": True}
            with Stream(*send(server.port, "POST", "/v1/completions", endless)) as stream:
                next(stream.events())
                self.stop(server)

    def test_while_answering(self) -> None:
        """In the middle of an answer that is sent as a whole."""
        with ServerUnderTest("-c", "512") as server, at_once(1) as clients:
            asked = clients.submit(server.ask, "POST", "/v1/completions", ENDLESS)
            server.wait_for_log("processing task")
            self.stop(server)
            self.assertIsInstance(asked.exception(10), ConnectionError)

    def stop(self, server: ServerUnderTest) -> None:
        """Send TERM to the whole group, as the proxy does."""
        began = time.monotonic()
        os.killpg(server.process.pid, signal.SIGTERM)
        self.assertEqual(server.process.wait(5), 0)
        self.assertLess(time.monotonic() - began, 2)
        with socket.create_server(("127.0.0.1", server.port)):
            pass  # the port is free again
