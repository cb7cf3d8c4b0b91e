"""Clients of every kind, some of whom do things that no client should.

Models are calm or wild.  Nobody harms the calm ones, so whoever asks for them must be served, whole and soon; the wild
ones die, hang and are killed, so whoever asks for them may also get an error, but a proper one.  What is neither is an
AssertionError.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any

from tests.blackbox import ProxyUnderTest, fake_model
from tests.soak.traffic import PATIENCE, Action, Traffic
from tests.support_client import CUT, Answer, Stream
from tests.test_blackbox_upgrades import Socket

EVENTS = 20
STREAM = f"--stream {EVENTS}@15"
CALM = {"red": STREAM, "green": STREAM, "blue": f"{STREAM} --load-delay 0.2 --log-rate 0.2", "ever": STREAM}
"""The last one runs beside all others, and is never unloaded for them."""
WILD = {
    "mortal": STREAM,
    "dying": f"{STREAM} --die-mid-stream",
    "stillborn": "--exit-after 0.1 --load-delay 5",
    "stubborn": f"{STREAM} --ignore-term",
    "family": f"{STREAM} --fork-grandchild polite --close-after-each",
    "chatty": f"{STREAM} --log-rate 2 --health 503*3,200",
}
PROPER_ERRORS = {502, 503}
BIG = 8 * 1024 * 1024


def configuration() -> dict[str, Any]:
    """Return the configuration that the load is made for."""
    models = {name: fake_model(name, f"--lifetime 90000 {knobs}") for name, knobs in {**CALM, **WILD}.items()}
    models["stubborn"]["unloadTimeout"] = 1
    return {
        "models": models,
        "profiles": {"pair": ["red", "green"]},
        "groups": {"side": {"members": ["ever"], "exclusive": False, "persistent": True}},
        "logRequests": True,
    }


def chat(traffic: Traffic, dice: random.Random) -> None:
    """Ask a calm model, or a profile of them, for a whole answer."""
    name = dice.choice([*CALM, "pair:red", "pair:green"])
    answer = traffic.proxy.chat(name, timeout=PATIENCE)
    traffic.waited(answer.seconds)
    assert answer.status == 200, f"{name}: {answer.status} {answer.body[:300]!r}"
    assert answer.json()["served_by"] == name.rpartition(":")[2], f"{name}: {answer.body[:300]!r}"


def stream(traffic: Traffic, dice: random.Random) -> None:
    """Ask a calm model for a stream."""
    name = dice.choice(list(CALM))
    count, is_whole = _read_stream(traffic, name)
    assert is_whole, f"{name}: the stream broke after {count} events"
    assert count == EVENTS + 2, f"{name}: {count} events"


def wild_chat(traffic: Traffic, dice: random.Random) -> None:
    """Ask a wild model for a whole answer."""
    answer = traffic.proxy.chat(name := dice.choice(list(WILD)), timeout=PATIENCE)
    traffic.waited(answer.seconds)
    _check_proper(name, answer)


def wild_stream(traffic: Traffic, dice: random.Random) -> None:
    """Ask a wild model for a stream: it may break, but what looks whole must be whole."""
    name = dice.choice(list(WILD))
    count, is_whole = _read_stream(traffic, name)
    assert not is_whole or count in (0, EVENTS + 2), f"{name}: {count} events look like a whole answer"


def leave_early(traffic: Traffic, dice: random.Random) -> None:
    """Hang up at any time: while the model loads, before the answer, in its midst."""
    connection = traffic.proxy.hanging_up(dice.choice([*CALM, *WILD]))
    time.sleep(dice.expovariate(5))
    connection.close()


def leave_stream(traffic: Traffic, dice: random.Random) -> None:
    """Hang up after some events."""
    with traffic.proxy.stream(dice.choice(list(CALM))) as answer:
        for _ in zip(range(dice.randrange(EVENTS)), answer.events(), strict=False):
            pass


def leave_upload(traffic: Traffic, dice: random.Random) -> None:
    """Hang up in the midst of a body."""
    with socket.create_connection(("127.0.0.1", traffic.proxy.port), PATIENCE) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n")
        client.sendall(b'{"model": "red", "pad": "' + b"x" * dice.randrange(1_000_000))


def big_body(traffic: Traffic, dice: random.Random) -> None:
    """Send some megabytes, which must arrive byte for byte."""
    name, pad = dice.choice(list(CALM)), dice.randbytes(BIG // 2).hex()
    body = f'{{"model": "{name}", "pad": "{pad}"}}'.encode()
    answer = traffic.proxy.post("/v1/embeddings", body, timeout=PATIENCE)
    traffic.waited(answer.seconds)
    assert answer.status == 200, f"{answer.status} {answer.body[:300]!r}"
    assert answer.json()["body_crc32"] == zlib.crc32(body), "the body was changed on its way"


def kill(traffic: Traffic, dice: random.Random) -> None:
    """Kill a wild model, if one runs."""
    for name, pid in running(traffic.proxy):
        if name in WILD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def unload(traffic: Traffic, dice: random.Random) -> None:
    """Unload a wild model, whatever it is doing."""
    answer = traffic.proxy.ask("POST", f"/api/models/unload/{dice.choice(list(WILD))}", timeout=PATIENCE)
    assert answer.status in (200, 404), answer.status


def reload(traffic: Traffic, dice: random.Random) -> None:
    """Have the configuration read again: as it is, with a wild model changed, or broken."""
    with traffic.reloading:
        text = json.dumps(configuration_like(traffic.proxy, dice.choice(["mortal", "family", None])))
        traffic.proxy.config_path.write_text(text if dice.random() < 0.7 else text[: len(text) // 2])
        traffic.proxy.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        traffic.proxy.config_path.write_text(text)
        traffic.proxy.send_signal(signal.SIGHUP)


def configuration_like(proxy: ProxyUnderTest, changed: str | None) -> dict[str, Any]:
    """Return the proxy's configuration, with one model changed a little."""
    config: dict[str, Any] = json.loads(proxy.config_path.read_text())
    if changed is not None:
        config["models"][changed]["env"] = [f"CHANGED={time.monotonic_ns()}"]
    return config


def talk(traffic: Traffic, dice: random.Random) -> None:
    """Speak to a calm model's WebSocket, and have every word repeated."""
    client = Socket(traffic.proxy, f"/upstream/{dice.choice(['ever', 'blue'])}/ws")
    try:
        assert client.head().startswith(b"HTTP/1.1 101 "), client.head()
        for _ in range(10):
            client.send(words := dice.randbytes(dice.randrange(1, 5000)))
            assert client.take(len(words)) == words, "what came back differs"
    finally:
        client.close()


def read_logs(traffic: Traffic, dice: random.Random) -> None:
    """Follow a log for a while; some do not read what they asked for."""
    source = dice.choice(["", "/proxy", "/upstream", "/blue", "/chatty"])
    until = time.monotonic() + 3 * dice.random()
    with traffic.proxy.reading(f"/logs/stream{source}") as log:
        assert log.status == 200, log.status
        if dice.random() < 0.3:
            time.sleep(until - time.monotonic())
        log._connection.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in log.lines():
                if time.monotonic() > until:
                    break


def look_around(traffic: Traffic, dice: random.Random) -> None:
    """Ask for what needs no model."""
    for target in ("/v1/models", "/running", "/health", "/logs"):
        answer = traffic.proxy.get(target)
        assert answer.status == 200, f"{target}: {answer.status}"
        assert answer.seconds < 1, f"{target} took {answer.seconds:.2f} s"


def nonsense(traffic: Traffic, dice: random.Random) -> None:
    """Ask for what is not to be had."""
    for status, body in ((400, b"{"), (400, b"[]"), (404, b'{"model": "nobody"}'), (400, b'{"model": 1}')):
        answer = traffic.proxy.post("/v1/chat/completions", body)
        assert answer.status == status, f"{body!r}: {answer.status}"
        answer.error()


def no_http(traffic: Traffic, dice: random.Random) -> None:
    """Send what is no HTTP at all, or only the beginning of it."""
    with socket.create_connection(("127.0.0.1", traffic.proxy.port), PATIENCE) as client:
        client.sendall(
            dice.choice([b"\x16\x03\x01\x02\0", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\n", b"\r\n" * 9])
        )
        time.sleep(dice.random())


ACTIONS: dict[Action, int] = {
    chat: 24,
    stream: 20,
    wild_chat: 8,
    wild_stream: 8,
    leave_early: 8,
    leave_stream: 8,
    leave_upload: 2,
    big_body: 2,
    kill: 3,
    unload: 3,
    reload: 2,
    talk: 3,
    read_logs: 6,
    look_around: 4,
    nonsense: 2,
    no_http: 2,
}
"""Each with its share."""


def running(proxy: ProxyUnderTest) -> Iterator[tuple[str, int]]:
    """Return the name and the process of the fake models that run now, by their own words of late."""
    with proxy.journal.path.open("rb") as journal:
        journal.seek(max(0, journal.seek(0, os.SEEK_END) - 65536))
        events = [json.loads(line) for line in journal.read().split(b"\n")[1:-1]]
    alive = {event["pid"]: event["model"] for event in events if event["ev"] == "start"}
    for event in events:
        if event["ev"] == "exit":
            alive.pop(event["pid"], None)
    return ((name, pid) for pid, name in alive.items())


def _read_stream(traffic: Traffic, name: str) -> tuple[int, bool]:
    """Return how many events came, and whether the stream looked whole.  A proper error has none."""
    began = time.monotonic()
    with traffic.proxy.stream(name) as answer:
        traffic.waited(time.monotonic() - began)
        if answer.status != 200:
            _check_proper(name, _rest(answer))
            return 0, name in WILD
        count = 0
        try:
            for _ in answer.events():
                count += 1
        except CUT:
            return count, False
        return count, True


def _rest(answer: Stream) -> Answer:
    return Answer(answer.status, answer.headers, answer._response.read(), 0.0)


def _check_proper(name: str, answer: Answer) -> None:
    if answer.status == http.client.OK:
        assert answer.json()["served_by"] == name, f"{name}: {answer.body[:300]!r}"
    else:
        assert answer.status in PROPER_ERRORS, f"{name}: {answer.status} {answer.body[:300]!r}"
        answer.error()
