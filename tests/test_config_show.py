"""The effective configuration."""

from __future__ import annotations

from pathlib import Path

import yaml
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.masking import masked
from llama_swap.config.show import render_effective
from tests.support_config import load, one_model

EXAMPLE = (Path(__file__).parents[1] / "config.example.yaml").read_text(encoding="utf-8")

_SOME = """\
globalTTL: 5
startPort: 9
models: {a: {cmd: "x ${PORT}", timeouts: {connect: 1}, unlisted: false}}
groups: {g: {members: [a], swap: false}}
ui: {activity: {session_id: [X-A]}}
peers: {p: {proxy: http://p}}
"""

_MATRIX = """\
models:
  a: {cmd: x, proxy: http://a}
  b: {cmd: x, proxy: http://b}
profiles: {p: {pins: {x: a}}}
hooks: {on_startup: {preload: [a], profile: p}}
routing:
  router: {use: matrix, settings: {matrix: {vars: {v: a}, evict_costs: {b: 3}, sets: {s: v & b}}}}
  scheduler: {use: fifo, settings: {fifo: {priority: {a: 2}}}}
"""


class RenderTests(SynchronousTestCase):
    """YAML that people can read, and that says the same when it is loaded."""

    def test_round_trip(self) -> None:
        """What is shown can be loaded again without a new warning, and is then the same, but for what is not shown."""
        names = "models:\n  no: {cmd: 'x --port ${PORT} ''a b'' \"\" é', checkEndpoint: none, env: ['A=b c']}\n"
        names += "  '010': {cmd: x --port 1, aliases: [1e3, ~], name: 'null'}\n"
        names += "  'a: b': {cmd: x --port 2, cmdStop: 'kill ${PID} ''a b'''}\n"
        for text in (f"{EXAMPLE}apiKeys: [sk-1]\n", names + "profiles: {12:30: [no, 1e3]}\n"):
            loaded = load(text)
            config = loaded.config
            for with_defaults in (False, True):
                shown = render_effective(config, with_defaults=with_defaults).replace("'***'", "shown")
                again = load(shown)
                self.assertEqual(again.config, evolve(config, api_keys=("shown",) * len(config.api_keys)))
                self.assertLessEqual({each.path for each in again.warnings}, {each.path for each in loaded.warnings})

    def test_everything_is_there(self) -> None:
        """Macros are expanded, ports given and defaults filled in; the arguments are quoted for a shell."""
        config = load(one_model("cmd: |\n  x --port ${PORT}\n  -m 'a b'")).config
        text = render_effective(config, with_defaults=True)
        shown = yaml.safe_load(text)
        self.assertEqual(shown["healthCheckTimeout"], 120)
        self.assertEqual(shown["models"]["m"]["cmd"], "x --port 5800 -m 'a b'")
        self.assertEqual(shown["models"]["m"]["proxy"], "http://localhost:5800")
        self.assertEqual(shown["models"]["m"]["checkEndpoint"], "/health")

    def test_defaults_last(self) -> None:
        """What is not a default is shown first, and otherwise in the order of the manual."""
        text = (
            "captureBuffer: 5\nlisten: :80\nmodels:\n  m: {ttl: 60, unlisted: false, cmd: x --port 1, aliases: [y]}\n"
        )
        rendered = render_effective(load(text).config, with_defaults=True)
        shown = yaml.safe_load(rendered)
        self.assertEqual(list(shown)[:3], ["listen", "models", "healthCheckTimeout"])
        self.assertEqual(list(shown["models"]["m"])[:6], ["cmd", "proxy", "aliases", "ttl", "env", "checkEndpoint"])
        self.assertIn("    ttl: 60\n    # defaults:\n    env: []\n", rendered)
        self.assertIn("\n# defaults:\nhealthCheckTimeout: 120\n", rendered)

    def test_without_defaults(self) -> None:
        """What the file has set is shown, and what was worked out from it, and nothing else."""
        for text, expected in (
            (
                one_model("cmd: x --port ${PORT}"),
                {"models": {"m": {"cmd": "x --port 5800", "proxy": "http://localhost:5800"}}},
            ),
            (
                _SOME,
                {
                    "ui": {"activity": {"session_id": ["X-A"]}},
                    "models": {
                        "a": {"cmd": "x 9", "proxy": "http://localhost:9", "ttl": 5, "timeouts": {"connect": 1.0}}
                    },
                    "peers": {"p": {"proxy": "http://p"}},
                    "routing": {
                        "router": {"use": "group", "settings": {"groups": {"g": {"swap": False, "members": ["a"]}}}}
                    },
                },
            ),
            (_MATRIX, yaml.safe_load(_MATRIX)),
            ("models: {}", {}),
        ):
            shown = yaml.safe_load(render_effective(load(text).config, with_defaults=False))
            self.assertEqual(shown, expected)

    def test_secrets_are_masked(self) -> None:
        """Neither arguments nor variables nor what is set in requests show what is nobody's business."""
        lines = "cmd: x --port 1 --api-key hush -e HF_TOKEN=hush\ncmdStop: x --api-key hush\n"
        lines += "env: [HF_TOKEN=hush, A=1, WANDB_API_KEY=hush]\n"
        lines += (
            "filters: {setParams: {search.api_key: hush, tools: [{name: web, auth: {token: hush}}], max_tokens: 5},\n"
        )
        lines += "          setParamsByID: {m-other: {password: hush}}}"
        text = render_effective(load(one_model(lines)).config, with_defaults=True)
        self.assertNotIn("hush", text)
        self.assertIn("HF_TOKEN=***", text)
        self.assertIn("A=1", text)
        self.assertIn("max_tokens: 5", text)
        self.assertIn("name: web", text)


class MaskTests(SynchronousTestCase):
    """What looks like a secret."""

    def test_masked(self) -> None:
        """The values of options and variables that are named like secrets, also within an argument."""
        for words, expected in (
            (["--api-key", "hush"], ["--api-key", "***"]),
            (["--api-key=hush hush"], ["--api-key=***"]),
            (["-hft", "hush"], ["-hft", "***"]),
            (["--hf-token", "hush", "-m", "x"], ["--hf-token", "***", "-m", "x"]),
            (["-e", "HF_TOKEN=hush"], ["-e", "HF_TOKEN=***"]),
            (["--env=DB_PASSWORD=hush"], ["--env=DB_PASSWORD=***"]),
            (["-eOPENAI_API_KEY=a=b"], ["-eOPENAI_API_KEY=***"]),
            (["-c", "env A_KEY=hush x --api-key hush -m y"], ["-c", "env A_KEY=*** x --api-key *** -m y"]),
            (["-H", "Authorization: Bearer hush"], ["-H", "Authorization: Bearer ***"]),
            (['{"api_key": "hush", "a": 1}'], ['{"api_key": "***", "a": 1}']),
            (["--password", "hush"], ["--password", "***"]),
            (["-e", "DB_PASS=hush"], ["-e", "DB_PASS=***"]),
            (["-H", "Authorization: Basic hush"], ["-H", "Authorization: Basic ***"]),
            (["-H", '{"authorization": "hush"}'], ["-H", '{"authorization": "***"}']),
            (["--url", "https://me:hush@x:80/y"], ["--url", "https://me:***@x:80/y"]),
        ):
            self.assertEqual(masked(words), expected)

    def test_not_masked(self) -> None:
        """Options that only sound alike."""
        for words in (
            ["--api-key-file", "/etc/key"],
            ["--tokenizer", "x"],
            ["--max-tokens", "5"],
            ["--max-tokens=5"],
            ["--chat-template-kwargs", '{"enable_thinking":false}'],
            ["-m", "/models/monkey.gguf"],
            ["--url", "http://127.0.0.1:8000/a@b"],
            ["--compass", "north"],
            ["key"],
            [],
        ):
            self.assertEqual(masked(words), words)

    def test_long_words(self) -> None:
        """A long argument takes no long time."""
        words = ["x" * 100_000, "a-" * 50_000, "key " * 20_000, "token=" * 20_000]
        self.assertEqual(len(masked(words)), 4)
