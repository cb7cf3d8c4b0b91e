"""Canaries: secrets that are put everywhere, and may turn up nowhere."""

from __future__ import annotations

import shlex
import sys
from base64 import b64encode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, run_proxy
from tests.test_blackbox_reload import NOT_RELOADED, reload

KEY = "canary-of-the-proxy"
CANARY = "canary-of-a-client"
CMD = "canary-in-cmd"
ENV = "canary-in-env"
MODELS_OWN = "srv  log_server_r: request: POST /v1/chat/completions?"
"""What the fake model prints: it sees the target as it came, and may say so."""
QUESTION = {"model": "a", "messages": []}


def everything_shown(proxy: ProxyUnderTest) -> str:
    """Return all that the proxy prints, logs and tells about itself, errors included."""
    key = {"Authorization": f"Bearer {KEY}"}
    pages = ["/", "/running", "/v1/models", "/upstream", "/logs?bytes=102400", "/logs/sources", "/health", "/nowhere"]
    pages += ["/api/version", "/metrics", "/api/metrics/activity", "/api/captures/1", "/api/hardware"]
    told = [proxy.get(page, key).body.decode() for page in pages]
    told += [proxy.get("/nowhere", {**key, "Accept": kind}).body.decode() for kind in ("text/html", "text/plain")]
    return "\n".join([proxy.log(), *told])


class CanaryTests(SynchronousTestCase):
    """Everything is logged that can be, and no secret is in it."""

    def test_requests(self) -> None:
        """What clients send to prove who they are is in no log, list or error."""
        model = fake_model("a", "--echo")
        config = {"models": {"a": model}, "apiKeys": [KEY], "logRequests": True, "logLevel": "debug"}
        with ProxyUnderTest(config) as proxy:
            credentials = b64encode(f"me:{CANARY}".encode()).decode()
            for headers in (
                {"Authorization": f"Bearer {KEY}", "x-api-key": CANARY, "Cookie": f"s={CANARY}", "api-key": CANARY},
                {"x-api-key": KEY, "Proxy-Authorization": f"Basic {credentials}", "Authorization": CANARY},
                {"Authorization": f"Bearer {CANARY}"},
                {"Authorization": f"Basic {credentials}", "x-api-key": KEY},
                {"x-api-key": CANARY},
            ):
                for query in (f"?key={CANARY}", f"?a=b&api_key={CANARY}&c", f"?token={CANARY}", f"?%6bey={CANARY}"):
                    proxy.ask("POST", f"/v1/chat/completions{query}", QUESTION, headers)
                    proxy.ask("POST", f"/v1/chat/completions{query}", {"model": "nobody"}, headers)
                    proxy.ask("POST", f"/v1/chat/completions{query}", b"{", headers)
                    proxy.ask("GET", f"/nowhere{query}", None, headers)
                    proxy.ask("GET", f"/upstream/nobody/{query}", None, headers)
            shown = everything_shown(proxy)
            self.assertIn('"POST /v1/chat/completions?key=*** HTTP/1.1" 200', shown)
            self.assertIn('"POST /v1/chat/completions?a=b&api_key=***&c HTTP/1.1" 401', shown)
            for secret in (KEY, CANARY, credentials):
                self.assertNotIn(secret, "\n".join(line for line in shown.splitlines() if MODELS_OWN not in line))

    def test_configuration(self) -> None:
        """What stands in the configuration to prove who we are is in no log, list or error."""
        knobs = f"--api-key {CMD} --hf-token={CMD} --password {CMD} -H 'Authorization: Bearer {CMD}'"
        model = fake_model("a", knobs, env=[f"HF_TOKEN={ENV}", f"X_API_KEY={ENV}", f"DB_PASSWORD={ENV}"])
        failing = {"cmd": f"{shlex.quote(sys.executable)} -c 'import sys; sys.exit(3)' --port 1 --api-key {CMD}"}
        missing = {"cmd": f"/no/such/program --port 2 --api-key {CMD} --token {CMD}"}
        config = {
            "models": {"a": model, "failing": failing, "missing": missing},
            "apiKeys": [KEY],
            "macros": {"secret": CMD},
            "logRequests": True,
            "logLevel": "debug",
        }
        with ProxyUnderTest(config) as proxy:
            told = ""
            for name in ("failing", "missing", "a"):
                told += proxy.ask("POST", "/v1/chat/completions", {"model": name}, {"x-api-key": KEY}).body.decode()
            self.assertIn("exit status 3", told)
            self.assertIn("/no/such/program", told)
            shown = told + everything_shown(proxy)
            self.assertIn("--api-key '***' ", shown)
            checked = run_proxy("check", "--all", "--config", str(proxy.config_path))
            self.assertEqual(checked.returncode, 0, checked.stderr)
            for secret in (KEY, CMD, ENV):
                self.assertNotIn(secret, shown)
                self.assertNotIn(secret, checked.stdout + checked.stderr)

    def test_reloaded(self) -> None:
        """What another configuration adds is kept as well: from pages, logs, and the models that start after it."""
        environ = {"FIRST": KEY, "SECOND": f"{KEY}-2", "HARMLESS": "shown-to-models"}
        says = (
            f"{shlex.quote(sys.executable)} -c 'import os; print(*os.environ.values()); raise SystemExit(3)' --port 1"
        )
        first = {"models": {"a": fake_model("a")}, "apiKeys": ["${env.FIRST}"], "logLevel": "debug"}
        knobs = f"--api-key {CMD} --hf-token={CMD} -H 'Authorization: Bearer {CMD}'"
        second = {
            **first,
            "models": {
                "a": fake_model("a", knobs, env=[f"HF_TOKEN={ENV}"]),
                "says": {"cmd": says},
                "missing": {"cmd": f"/no/such/program --port 2 --token {CMD}"},
            },
            "apiKeys": ["${env.FIRST}", "${env.SECOND}"],
            "peers": {"p": {"proxy": "http://127.0.0.1:9", "apiKey": CANARY}},
            "logRequests": True,
        }
        with ProxyUnderTest(first, env=environ) as proxy:
            proxy.ask("POST", "/v1/chat/completions", QUESTION, {"x-api-key": KEY})
            reload(proxy, second)
            told = ""
            for name in ("says", "missing", "p/m", "a"):
                key = {"x-api-key": f"{KEY}-2"}
                told += proxy.ask("POST", "/v1/chat/completions", {"model": name}, key).body.decode()
            self.assertIn("shown-to-models", told)
            broken = {**second, "peers": {"p": {"proxy": "nowhere", "apiKey": f"{CANARY} {CANARY}"}}}
            reload(proxy, broken, NOT_RELOADED)
            shown = told + everything_shown(proxy)
            self.assertIn("--api-key '***' ", shown)
            for secret in (KEY, CMD, ENV, CANARY):
                self.assertNotIn(secret, shown)

    def test_mistakes(self) -> None:
        """Nor does an error about a secret repeat it."""
        path = Path(self.mktemp())
        for text in (
            f"apiKeys: {KEY}\n",
            f"apiKeys: [{KEY} {KEY}]\n",
            f"apiKeys: {{{KEY}: 1}}\n",
        ):
            path.write_text(text + "models: {a: {cmd: x --port 1}}\n")
            self.assert_silent(path, KEY)
        for lines in (f"env: HF_TOKEN={ENV}", f"env: [[HF_TOKEN={ENV}]]", f"aliases: --api-key {ENV}"):
            path.write_text(f"models:\n  a:\n    cmd: x --port 1\n    {lines}\n")
            self.assert_silent(path, ENV)

    def assert_silent(self, path: Path, secret: str) -> None:
        """Check that a file is refused without a word of the secret."""
        checked = run_proxy("check", "--all", "--config", str(path))
        self.assertEqual(checked.returncode, 1)
        self.assertNotIn(secret, checked.stdout + checked.stderr)
