"""What the programs read that are built on llama-swap's own API: home automation, status bars, consoles, editors.

Many are written in languages that refuse a field of another type than they expect, so the types count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_client import Stream, exchange

Shape = Any
"""A type, a tuple of types, [SHAPE] for a list, {KEY: SHAPE} for an object (KEY? may be missing), or a value."""

NUMBER = (int, float)
MODEL = {
    "id": str,
    "object": "model",
    "created": int,
    "owned_by": "llama-swap",
    "name?": str,
    "description?": str,
    "architecture?": {"modality?": str, "input_modalities?": [str], "output_modalities?": [str]},
    "capabilities?": {
        "vision?": bool,
        "audio_transcriptions?": bool,
        "audio_speech?": bool,
        "image_generation?": bool,
        "image_to_image?": bool,
        "function_calling?": bool,
        "reranker?": bool,
    },
    "supported_parameters?": [str],
    "context_length?": int,
    "meta?": {
        "n_ctx?": int,
        "llamaswap?": {
            "type": str,
            "aliases?": [str],
            "modelID?": str,
            "peerID?": str,
            "strategy?": str,
            "targets?": [str],
            "spillover?": int,
        },
    },
    "status": {"value": str},
}
ENTRY = {
    "id": int,
    "timestamp": str,
    "model": str,
    "req_path": str,
    "resp_content_type": str,
    "resp_status_code": int,
    "tokens": {
        "cache_tokens": int,
        "draft_tokens": int,
        "draft_acc_tokens": int,
        "input_tokens": int,
        "output_tokens": int,
        "prompt_per_second": NUMBER,
        "tokens_per_second": NUMBER,
    },
    "duration_ms": int,
    "has_capture": bool,
    "error_msg?": str,
    "metadata?": dict,
}
UNDER_WAY = {
    "id": str,
    "timestamp": str,
    "model": str,
    "req_path": str,
    "method": str,
    "req_headers": dict,
    "remote_ip": str,
    "resp_headers": dict,
    "resp_bytes": int,
    "elapsed_ms": int,
    "metadata?": dict,
}
EVENTS = {
    "logData": {"source": str, "data": str},
    "modelStatus": [
        {
            "id": str,
            "name": str,
            "description": str,
            "state": str,
            "unlisted": bool,
            "peerID": str,
            "aliases?": [str],
            "capabilities?": MODEL["capabilities?"],
            "context_length?": int,
            "readySince?": str,
            "uptimeMs?": int,
        }
    ],
    "uiConfig": {"activity": {"session_id": [str]}},
    "profileChanged": {"active": (str, type(None))},
    "inflight": {"operation": str, "requests?": [UNDER_WAY], "request?": UNDER_WAY, "id?": str},
    "activity": {"id": int},
}
ANSWERS = {
    "/v1/models": {"object": "list", "data": [MODEL]},
    "/running": {
        "running": [{"model": str, "state": str, "cmd": str, "proxy": str, "ttl": int, "name": str, "description": str}]
    },
    "/api/profiles": {"active": (str, type(None)), "profiles": [{"id": str, "description": str, "pins": dict}]},
    "/api/metrics/activity": {"data": [ENTRY], "page": int, "limit": int, "total": int, "total_pages": int},
    "/api/metrics/stats": {
        "total_requests": int,
        "total_input_tokens": int,
        "total_output_tokens": int,
        "total_cache_tokens": int,
        "prompt_histogram": (dict, type(None)),
        "gen_histogram": (dict, type(None)),
    },
    "/api/captures/1": {
        "id": int,
        "req_path": str,
        "req_headers": dict,
        "req_body": str,
        "resp_headers": dict,
        "resp_body": str,
    },
    "/api/performance": {"enabled": True, "sys_stats": list, "gpu_stats": list},
    "/api/hardware": {
        "schema_version": 1,
        "captured_at": str,
        "capture": {"scope": "inference_host", "method": "detected", "detector": {"name": str, "version": str}},
        "architecture": {"name": str, "raw_name": (str, type(None))},
        "operating_system": {"family": "linux", "name": (str, type(None)), "version": (str, type(None))},
        "environment": {"kind": str},
        "cpu": {"vendor": (str, type(None)), "model": (str, type(None)), "logical_thread_count": (int, type(None))},
        "memory": {"capacity_bytes": int},
        "accelerators": list,
    },
    "/api/version": {"version": str, "commit": str, "build_date": str},
}


def misfits(value: object, shape: Shape, place: str = "") -> Iterator[str]:
    """Yield where `value` is not as `shape` says."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{place} is no object: {value!r}"
            return
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in value:
                yield from misfits(value[name], inner, f"{place}.{name}")
            elif name == key:
                yield f"{place}.{name} is missing"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place} is no list: {value!r}"
            return
        for number, item in enumerate(value):
            yield from misfits(item, shape[0], f"{place}[{number}]")
    elif isinstance(shape, (type, tuple)):
        if not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
            yield f"{place} is {value!r}"
    elif value != shape:
        yield f"{place} is {value!r}, not {shape!r}"


CONFIG: dict[str, Any] = {
    "models": {
        "a": fake_model(
            "a",
            name="A",
            description="It is a.",
            aliases=["x"],
            capabilities={"in": ["text", "image"], "out": ["text"], "tools": True, "context": 4096},
        ),
        "org/b:7b": fake_model("b", "--stream 40@50", unlisted=True),
    },
    "groups": {"g": {"swap": False, "members": ["a", "org/b:7b"]}},
    "selectors": {"s": {"strategy": "spillover", "targets": ["a", "org/b:7b"], "settings": {"spillover": 2}}},
    "profiles": {"p": {"pins": {"fast": "a", "slow": None}}},
    "peers": {"far": {"proxy": "http://127.0.0.1:9", "models": ["m"]}},
    "includeAliasesInList": True,
}


class ShapeTests(SynchronousTestCase):
    """Everything has the fields that are expected, with values of the expected types."""

    def test_answers(self) -> None:
        """What can be asked for, when something has happened and when not."""
        with ProxyUnderTest(CONFIG) as proxy:
            proxy.served("a")
            for path, shape in ANSWERS.items():
                answer = proxy.get(path)
                self.assertEqual((answer.status, answer.headers.get_content_type()), (200, "application/json"), path)
                self.assertEqual(list(misfits(answer.json(), shape)), [], path)
            self.assertEqual(len(proxy.get("/v1/models").json()["data"]), 4)
            self.assertEqual(set(proxy.get("/api/profiles").json()["profiles"][0]["pins"].values()), {"a", ""})

    def test_events(self) -> None:
        """What is told as it happens, each kind of it."""
        with ProxyUnderTest(CONFIG) as proxy, proxy.reading("/api/events") as events:
            told = news(events)
            seen: dict[str, list[Any]] = {kind: [] for kind in EVENTS}
            with proxy.stream("org/b:7b") as answer:
                for kind, data in told:
                    self.assertEqual(list(misfits(data, EVENTS[kind])), [], kind)
                    seen[kind].append(data)
                    if kind == "inflight" and data["operation"] == "upsert":
                        break
                self.assertEqual(len(list(answer.events())), 42)
            proxy.ask("PUT", "/api/profiles/active", b'{"name": "p"}')
            for kind, data in told:
                self.assertEqual(list(misfits(data, EVENTS[kind])), [], kind)
                seen[kind].append(data)
                if seen["activity"] and len(seen["profileChanged"]) > 1:
                    break
            self.assertEqual([kind for kind, all_ in seen.items() if not all_], [])
            states = {model["id"]: model["state"] for model in seen["modelStatus"][-1]}
            self.assertEqual(states, {"a": "stopped", "org/b:7b": "ready", "far/m": states["far/m"]})
            uptimes = {model["id"]: model["uptimeMs"] for model in seen["modelStatus"][-1] if "uptimeMs" in model}
            self.assertEqual(list(uptimes), ["org/b:7b"])
            self.assertLess(uptimes["org/b:7b"], 60_000)
            operations = {data["operation"] for data in seen["inflight"]}
            self.assertEqual(operations, {"snapshot", "upsert", "remove"})


def news(stream: Stream) -> Iterator[tuple[str, Any]]:
    """Yield kind and data of each event, which browsers take for unnamed messages."""
    for _, line in stream.lines():
        if line.startswith(b"data:"):
            told = json.loads(line[5:])
            yield told["type"], json.loads(told["data"])


class HabitTests(SynchronousTestCase):
    """How such programs ask."""

    def test_loading(self) -> None:
        """A model is loaded by way of its own server, with its id as one segment; a 404 of ours can be told apart."""
        with ProxyUnderTest(CONFIG) as proxy:
            for name in ("org/b:7b", "x"):
                self.assertEqual(proxy.get(f"/upstream/{quote(name, safe='')}/health").status, 200)
            self.assertEqual(set(proxy.running()), {"a", "org/b:7b"})
            answer = proxy.get("/upstream/nobody/health")
            self.assertEqual(answer.status, 404)
            self.assertIn(b"model not found", answer.body.lower())
            for name in ("org/b:7b", "x"):
                answer = proxy.ask("POST", f"/api/models/unload/{quote(name, safe='')}")
                self.assertEqual((answer.status, answer.body), (200, b"OK"))
            answer = proxy.ask("POST", "/api/models/unload/nobody")
            self.assertEqual(answer.status, 404)
            self.assertEqual(proxy.running(), {})

    def test_is_it_there(self) -> None:
        """HEAD asks whether there is something to be asked for."""
        with ProxyUnderTest(CONFIG) as proxy:
            for path in ("/api/performance", "/api/events", "/health", "/running", "/v1/models"):
                answer = proxy.ask("HEAD", path)
                self.assertEqual((answer.status, answer.body), (200, b""), path)

    def test_framing(self) -> None:
        """What is no stream comes whole, with its length, so that the simplest of clients can read it; so does HEAD."""
        routes = {"/health": 200, "/v1/models": 200, "/running": 200, "/": 302, "/upstream": 302, "/ui/models": 200}
        routes |= {"/logs": 200, "/metrics": 200, "/api/version": 200, "/api/profiles": 200, "/nowhere": 404}
        routes |= {"/api/metrics/activity": 200, "/upstream/a": 301, "/upstream/nobody/x": 404, "/api/captures/7": 404}
        with ProxyUnderTest(CONFIG) as proxy:
            for path, status in routes.items():
                for version in ("1.0", "1.1"):
                    head, body = self._raw(proxy, "GET", path, version)
                    self.assertEqual(head["status"], str(status), path)
                    self.assertEqual(head["content-length"], str(len(body)), path)
                    self.assertNotIn("transfer-encoding", head, path)
                    asked, nothing = self._raw(proxy, "HEAD", path, version)
                    self.assertEqual((asked["status"], nothing), (head["status"], b""), path)
                    if path not in ("/logs", "/metrics"):  # which have grown meanwhile
                        self.assertEqual(asked["content-length"], head["content-length"], path)

    def _raw(self, proxy: ProxyUnderTest, method: str, path: str, version: str) -> tuple[dict[str, str], bytes]:
        """Return the answer's fields, its status among them, and its body as it came."""
        request = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        head, _, body = exchange(proxy.port, request.encode()).partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        found = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return {**found, "status": first.split(" ")[1]}, body
