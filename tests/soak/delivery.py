"""Long checks of what passes through: once, whole, after any silence, beside anything else."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.soak.procfs import sample
from tests.soak.report import Finding, at_most, exactly, told
from tests.support_client import ask, at_once
from tests.test_blackbox_upgrades import Socket

MEGABYTE = 1_000_000
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def at_most_once() -> list[Finding]:
    """1,000 requests to a model that closes each connection behind its answer: all answered, none sent twice."""
    with ProxyUnderTest({"models": {"m": fake_model("m", "--close-after-each", concurrencyLimit=100)}}) as proxy:
        proxy.served("m")
        with at_once(8) as clients:
            statuses = [answer.status for answer in clients.map(proxy.chat, ["m"] * 1000)]
        arrived = len(proxy.journal.events("req")) - 1
    return [
        exactly(
            "1,000 requests to a model that keeps hanging up: not 200", sum(status != 200 for status in statuses), 0
        ),
        exactly("… requests that arrived", arrived, 1000),
    ]


def aborted_requests() -> list[Finding]:
    """2,000 requests, a quarter of which are given up, leave no file open."""
    dice = random.Random(5)
    with ProxyUnderTest({"models": {"m": fake_model("m", "--stream 5@5", concurrencyLimit=100)}}) as proxy:
        proxy.served("m")
        before = sample(proxy.pid)

        def request(number: int) -> int:
            if number % 4:
                return proxy.chat("m").status
            with proxy.stream("m") as answer:
                time.sleep(dice.random() * 0.02)
                return answer.status

        with at_once(8) as clients:
            statuses = list(clients.map(request, range(2000)))
        time.sleep(1)
        after = sample(proxy.pid)
    return [
        exactly("2,000 requests, 500 given up: other answers than 200", sum(status != 200 for status in statuses), 0),
        at_most("… open files more", after.files - before.files, 2),
    ]


def large_bodies_beside_a_stream() -> list[Finding]:
    """While 25 MB of multipart and 25 MB of JSON pass, a stream goes on."""
    json_body = json.dumps({"model": "m", "pad": "x" * 25 * MEGABYTE}).encode()
    form = _form(25 * MEGABYTE)
    with ProxyUnderTest({"models": {"m": fake_model("m", "--stream 300@20")}}) as proxy:
        proxy.served("m")
        statuses = []

        def upload() -> None:
            time.sleep(1)
            statuses.append(proxy.post("/v1/embeddings", json_body).status)
            statuses.append(ask(proxy.port, "POST", "/v1/audio/transcriptions", form, FORM).status)

        uploading = threading.Thread(target=upload)
        uploading.start()
        with proxy.stream("m") as answer:
            times = [arrived for arrived, _ in answer.events()]
        uploading.join()
    gap = max(later - earlier for earlier, later in pairwise(times))
    return [
        told("25 MB of JSON, 25 MB of multipart beside a stream: answers", statuses),
        at_most("… longest pause of the stream (20 ms apart)", gap * 1e3, 250, " ms"),
    ]


def uploads_while_loading() -> list[Finding]:
    """50 uploads of 20 MB that wait for a model to load cost little memory; their files are gone with them."""
    form = _form(20 * MEGABYTE)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        config = {"models": {"m": fake_model("m", "--load-delay 15", concurrencyLimit=100)}}
        with ProxyUnderTest(config, env={"TMPDIR": directory}) as proxy:
            proxy.get("/running")
            before, free = sample(proxy.pid), shutil.disk_usage(directory).free

            def upload(number: int) -> int:
                return ask(proxy.port, "POST", "/v1/audio/transcriptions", form, FORM, timeout=120).status

            with at_once(50) as clients:
                answers = [clients.submit(upload, number) for number in range(50)]
                proxy.journal.wait_for("bind", timeout=120)
                during = sample(proxy.pid)
                statuses = [answer.result() for answer in answers]
            time.sleep(5)
            kept = free - shutil.disk_usage(directory).free
            left = list(Path(directory).iterdir())
    return [
        exactly(
            "50 uploads of 20 MB while the model loads: not answered", sum(status >= 500 for status in statuses), 0
        ),
        at_most("… memory more", during.memory_mb - before.memory_mb, 150, " MB"),
        at_most("… disk still taken 5 s later", kept / MEGABYTE, 50, " MB"),
        exactly("… files left", len(left), 0),
    ]


def silent_tunnel() -> list[Finding]:
    """A WebSocket on which nothing is said for 90 s goes on."""
    with ProxyUnderTest(fake_models("a")) as proxy:
        client = Socket(proxy)
        head = client.head()
        client.send(b"before")
        repeated = client.take(6)
        time.sleep(90)
        client.send(b"behind")
        repeated += client.take(6)
        client.close()
    return [
        exactly("a WebSocket: status", head.split()[1].decode(), "101"),
        exactly("… what came back before and behind 90 s of silence", repeated.decode(), "beforebehind"),
    ]


def _form(size: int) -> bytes:
    """Return a form with a model and a file."""
    part = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; '
    return part + b'name="file"; filename="a"\r\n\r\n' + b"x" * size + b"\r\n--b--\r\n"
