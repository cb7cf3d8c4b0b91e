"""Long checks of starting, stopping and swapping."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.blackbox import CONSOLE, ProxyUnderTest, fake_model, fake_models, tested_environment
from tests.soak.procfs import sample
from tests.soak.report import Finding, at_most, exactly, told
from tests.support_client import ask, at_once
from tests.support_processes import free_port, wait_until


def request_while_stopping() -> list[Finding]:
    """A request that comes at any moment while its model is stopped for its `ttl` is served by a new process."""
    offsets = [0.06 * step for step in range(50)]
    with ThreadPoolExecutor(5) as beside:
        waits = list(beside.map(_request_into_stopping, offsets))
    served = sum(wait is not None for wait in waits)
    late = max((wait - max(0, 3 - offset) for wait, offset in zip(waits, offsets, strict=True) if wait), default=0)
    return [
        exactly("requests during the stop of their own model: served", f"{served} of 50", "50 of 50"),
        at_most("… waited beyond the rest of that stop", late, 0.3 + 1, " s"),
    ]


def _request_into_stopping(offset: float) -> float | None:
    """Ask so many seconds after SIGTERM; return how long the answer took, None if there was none."""
    model = fake_model("m", "--term-delay 3 --load-delay 0.3", ttl=1)
    with ProxyUnderTest({"models": {"m": model}}) as proxy:
        proxy.served("m")
        term = proxy.journal.wait_for("term", timeout=10)
        time.sleep(max(0, term["t"] + offset - time.time()))
        answer = proxy.chat("m")
        return answer.seconds if answer.status == 200 else None


def slow_load() -> list[Finding]:
    """A load of 20 s is waited for."""
    model = fake_model("m", "--load-delay 20")
    with ProxyUnderTest({"models": {"m": model}, "healthCheckTimeout": 30}) as proxy:
        answer = proxy.chat("m", timeout=40)
    return [
        exactly("a load of 20 s: status", answer.status, 200),
        at_most("… answered after", answer.seconds, 22, " s"),
    ]


def late_first_byte() -> list[Finding]:
    """An answer whose first byte takes 130 s is waited for: there is no limit to a prompt."""
    with ProxyUnderTest({"models": {"m": fake_model("m", "--first-byte-delay 130")}}) as proxy:
        answer = proxy.chat("m", timeout=150)
    return [
        exactly("a first byte after 130 s: status", answer.status, 200),
        told("… answered after", f"{answer.seconds:.1f} s"),
    ]


def load_cycles() -> list[Finding]:
    """Loading and unloading 100 times leaves nothing."""
    with ProxyUnderTest(fake_models("m")) as proxy:
        _load_and_unload(proxy, 10)
        before = sample(proxy.pid)
        _load_and_unload(proxy, 100)
        after = sample(proxy.pid)
    return [
        exactly("100 loads and unloads: zombies", after.zombies, 0),
        at_most("… open files more", after.files - before.files, 0),
        at_most("… memory more", after.memory_mb - before.memory_mb, 10, " MB"),
    ]


def _load_and_unload(proxy: ProxyUnderTest, times: int) -> None:
    for _ in range(times):
        proxy.served("m")
        assert proxy.get("/unload").status == 200
    time.sleep(1)


def random_requests() -> list[Finding]:
    """1,000 requests to three models in random order, four at a time, one in ten of which hangs up."""
    dice = random.Random(7)
    names = ["a", "b", "c"]
    with ProxyUnderTest(fake_models(*names)) as proxy:

        def ask(number: int) -> tuple[int, float]:
            name = dice.choice(names)
            if number % 10 == 0:
                connection = proxy.hanging_up(name)
                time.sleep(dice.random() * 0.2)
                connection.close()
                return 200, 0.0
            answer = proxy.chat(name, timeout=60)
            return answer.status, answer.seconds

        with at_once(4) as clients:
            answers = list(clients.map(ask, range(1000)))
        wait_until(lambda: len(proxy.running()) == 1, 10, "one model that runs")
        most = proxy.journal.most_alive()
    return [
        exactly("1,000 random requests: answers other than 200", sum(status != 200 for status, _ in answers), 0),
        at_most("… longest wait", max(seconds for _, seconds in answers), 30, " s"),
        exactly("… processes at once", most, 1),
    ]


def swaps_with_a_lock() -> list[Finding]:
    """In 50 swaps of models that take 1 s to leave, no new one starts before the old one has released the device."""
    with tempfile.TemporaryDirectory() as directory:
        knobs = f"--lock {directory}/device --term-delay 1"
        with ProxyUnderTest({"models": {name: fake_model(name, knobs) for name in ("a", "b")}}) as proxy:
            for swap in range(51):
                proxy.served("ab"[swap % 2])
            exits = proxy.journal.events("exit")
    return [
        at_most("50 swaps: processes that found the device taken", sum(exit_["status"] == 9 for exit_ in exits), 0),
        exactly("… processes that left", len(exits), 50),
    ]


def crash_loop() -> list[Finding]:
    """A model that exits at once, asked for 50 times a second for 10 s, is started rarely and refused quickly."""
    with ProxyUnderTest({"models": {"m": fake_model("m", "--exit-after 0", concurrencyLimit=100)}}) as proxy:
        with at_once(20) as clients:
            pending = []
            for _ in range(500):
                pending.append(clients.submit(proxy.chat, "m"))
                time.sleep(0.02)
            answers = [each.result() for each in pending]
        starts = len(proxy.journal.events("start"))
    refused = [answer for answer in answers if answer.status == 503]
    return [
        at_most("a model that exits at once: starts in 10 s", starts, 10),
        at_most("… slowest refusal", max(answer.seconds for answer in refused), 0.1, " s"),
        exactly("… refusals without Retry-After", sum(not answer.headers["Retry-After"] for answer in refused), 0),
        exactly("… other answers than 502 and 503", sum(answer.status not in (502, 503) for answer in answers), 0),
    ]


def many_aborts() -> list[Finding]:
    """500 clients that hang up in any phase: the same process goes on, and nothing is left open."""
    dice = random.Random(3)
    knobs = "--stream 20@20 --first-byte-delay 0.05"
    with ProxyUnderTest({"models": {name: fake_model(name, knobs) for name in ("a", "b")}}) as proxy:
        proxy.served("a")
        before = sample(proxy.pid)

        def abort(number: int) -> None:
            connection = proxy.hanging_up(dice.choice("ab"))
            time.sleep(dice.expovariate(10))
            connection.close()

        with at_once(6) as clients:
            list(clients.map(abort, range(500)))
        assert proxy.get("/health").status == 200
        proxy.get("/unload")
        proxy.served("a")
        time.sleep(1)
        after = sample(proxy.pid)
        unhandled = proxy.log().count("Unhandled")
    return [
        exactly("500 aborts: «Unhandled» in the log", unhandled, 0),
        at_most("… open files more", after.files - before.files, 2),
    ]


def thrash() -> list[Finding]:
    """Two clients that keep two models swapping for a minute do not keep a third one from its model."""
    until = time.monotonic() + 60
    with ProxyUnderTest(fake_models("a", "b", "c")) as proxy:

        def insist(name: str) -> int:
            count = 0
            while time.monotonic() < until:
                count += proxy.chat(name).status == 200
            return count

        def ask_now_and_then(name: str) -> list[float]:
            waits = []
            while time.monotonic() < until:
                answer = proxy.chat(name)
                assert answer.status == 200, answer.status
                waits.append(answer.seconds)
                time.sleep(3)
            return waits

        with at_once(5) as clients:
            insisting = [clients.submit(insist, name) for name in "abab"]
            waits = clients.submit(ask_now_and_then, "c").result()
            served = sum(each.result() for each in insisting)
    return [
        told("four clients that keep two models busy for a minute: answers", f"{served:,}"),
        at_most(f"… longest wait of a fifth, for a third model, of {len(waits)}", max(waits), 30, " s"),
    ]


def first_process() -> list[Finding]:
    """As process 1, as in a container, it ends in time when told, with its models."""
    if os.getuid() != 0:
        return [told("as process 1", "not run: needs root")]
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "config.yaml"
        config.write_text(json.dumps({"models": {"m": fake_model("m", "--term-delay 2 --fork-grandchild polite")}}))
        port = free_port()
        command = ["unshare", "-pf", "--mount-proc", *CONSOLE, "--config", str(config), "--listen", f"127.0.0.1:{port}"]
        with subprocess.Popen(
            command, env=tested_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        ) as outer:
            wait_until(lambda: _answers(port), 20, "an answer")
            assert ask(port, "POST", "/v1/chat/completions", {"model": "m", "messages": []}).status == 200
            (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
            began = time.monotonic()
            os.kill(int(inner), signal.SIGTERM)
            status = outer.wait(30)
            seconds = time.monotonic() - began
    return [exactly("as process 1: exit status", status, 0), at_most("… exit after SIGTERM", seconds, 10, " s")]


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return ask(port, "GET", "/health").status == 200
    return False


def idle_cost() -> list[Finding]:
    """50 models configured, 3 loaded, 5 followers of the log: a minute of nothing costs next to nothing."""
    names = [f"m{number}" for number in range(50)]
    config = {**fake_models(*names), "profiles": {"p": names[:3]}}
    with ProxyUnderTest(config) as proxy:
        proxy.served("p:m0")
        wait_until(lambda: list(proxy.running().values()) == ["ready"] * 3, 10, "three models that run")
        logs = [proxy.reading("/logs/stream") for _ in range(5)]
        time.sleep(1)
        before = sample(proxy.pid)
        time.sleep(60)
        after = sample(proxy.pid)
        for log in logs:
            log.hang_up()
    return [at_most("a minute at rest: CPU, of a core", (after.cpu - before.cpu) / 60, 0.005)]


def worst_drain() -> list[Finding]:
    """An answer that never ends, of a model that neither leaves nor is stopped by its `cmdStop`: 35 s at most."""
    findings = []
    for signals, limit in ((1, 35), (2, 3)):
        model = fake_model("m", "--hold --ignore-term --fork-grandchild", cmdStop="sleep 1000", unloadTimeout=60)
        with ProxyUnderTest({"models": {"m": model}}) as proxy, contextlib.closing(proxy.hanging_up("m")):
            proxy.journal.wait_for("req")
            began = time.monotonic()
            for _ in range(signals):
                proxy.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            status = proxy.wait(45)
            name = f"{signals} × SIGTERM, and nobody leaves"
            findings += [
                at_most(f"{name}: exit after", time.monotonic() - began, limit, " s"),
                exactly("… exit status", status, 0),
                exactly("… processes left behind", len(proxy.survivors()), 0),
            ]
    return findings
