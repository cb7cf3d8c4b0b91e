"""Command lines from the documents of the original llama-swap, and from scripts around it, typed as they stand there.

`http://host` stands for the proxy.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_processes import wait_until
from tests.support_requirements import require_program

JOKE = r"""
curl -s http://host/v1/chat/completions \
    -H "Content-Type: application/json" \
    -H "Authorization: Bearer no-key" \
    -d '{"model":"smollm2","messages": [{"role": "user","content": "tell me a joke"}]}' | \
    jq -r '.choices[0].message.content'
"""
BENCHMARK = r"""
url=http://host
for model in "$@"; do
    curl -s --url "$url/v1/chat/completions" -d "{\"messages\": [{\"role\": \"system\", \"content\": \"only code.\"}],
        \"top_k\": 1, \"timings_per_token\":true, \"model\":\"$model\"}" | jq -r .timings.predicted_per_second
done
"""
UNTIL_READY = r"""
until curl -s http://host/running | jq -e '.running[] | select(.model == "a" and .state == "ready")' > /dev/null; do
    sleep 0.05
done
echo ready
"""


class RecipeCase(SynchronousTestCase):
    """A shell."""

    def setUp(self) -> None:
        for program in ("curl", "jq"):
            require_program(program, program)

    def shell(self, proxy: ProxyUnderTest, script: str, *arguments: str) -> str:
        """Run a script; return what it prints, once it has ended well."""
        script = script.replace("http://host", f"http://127.0.0.1:{proxy.port}")
        command = ["bash", "-euo", "pipefail", "-c", script, "recipe", *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), ran.stdout)
        return ran.stdout

    def answering(self, name: str, answer: object) -> dict[str, object]:
        """Return a model whose server answers every request with this JSON."""
        path = Path(self.mktemp()).resolve()
        body = json.dumps(answer).encode()
        path.write_bytes(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
        return fake_model(name, f"--raw {shlex.quote(str(path))}")


class AskingTests(RecipeCase):
    """Inferences."""

    def test_chat(self) -> None:
        """A key that nobody asked for does no harm."""
        with ProxyUnderTest(fake_models("qwen2.5", "smollm2")) as proxy:
            self.assertEqual(self.shell(proxy, JOKE), "Hello!\n")
            self.assertEqual(self.shell(proxy, JOKE.replace("smollm2", "qwen2.5")), "Hello!\n")
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_benchmark(self) -> None:
        """curl's own content type is one of forms; the body is JSON nevertheless, and `timings` come through."""
        models = {name: self.answering(name, {"timings": {"predicted_per_second": 42.5}}) for name in ("m1", "m2")}
        with ProxyUnderTest({"models": models}) as proxy:
            self.assertEqual(self.shell(proxy, BENCHMARK, "m1", "m2"), "42.5\n42.5\n")
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_other_calls(self) -> None:
        """Embeddings, ranks, speech and its transcription; files are uploaded as forms."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            for script, printed in (
                ("""curl -s http://host/v1/embeddings -d '{"model":"a","input":"x"}' | jq -c .data[0].embedding""",
                 "[0.25,-0.5,0.75]\n"),
                ("""curl -s http://host/v1/rerank -d '{"model":"a","query":"x","documents":["y"]}' |
                    jq .results[0].relevance_score""", "0.9\n"),
                ("""curl -s http://host/v1/audio/speech -d '{"model":"a","input":"x"}' -o - | head -c 3""", "ID3"),
                ("""head -c 100000 /dev/zero |
                    curl -s http://host/v1/audio/transcriptions -F model=a -F file=@-\\;filename=a.wav | jq -r .text""",
                 "Hello!\n"),
            ):  # fmt: skip
                self.assertEqual(self.shell(proxy, script), printed)


class RunningTests(RecipeCase):
    """What runs, and making an end of it."""

    def test_until_ready(self) -> None:
        """Scripts load a model and wait for it; the one that a container's health is asked with starts nothing."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--load-delay 0.3")}}) as proxy:
            self.assertEqual(self.shell(proxy, "curl -sf http://host/health"), "OK")
            self.assertEqual(self.shell(proxy, "curl -sf http://host/running | jq -c .running"), "[]\n")
            self.assertEqual(proxy.journal.events("start"), [])
            load = "curl -s http://host/upstream/a/health > /dev/null &\n"
            self.assertEqual(self.shell(proxy, load + UNTIL_READY + "wait"), "ready\n")

    def test_unload(self) -> None:
        """All or one, with GET or POST; ids may be written with their slashes or without."""
        models = {name: fake_model(name) for name in ("a", "org/b:7b")}
        groups = {"g": {"swap": False, "members": list(models)}}
        with ProxyUnderTest({"models": models, "groups": groups}) as proxy:
            for script, printed, left in (
                ("curl -sf -X POST http://host/api/models/unload/org/b:7b", "OK", {"a"}),
                ("curl -sf -X POST http://host/api/models/unload/org%2Fb%3A7b", "OK", {"a"}),
                ("curl -sf -X POST http://host/api/models/unload | jq -c .", '{"msg":"ok"}\n', set()),
                ("curl -sf http://host/unload", "OK", set()),
            ):
                for model in models:
                    proxy.served(model)
                self.assertEqual(self.shell(proxy, script), printed)
                self.assertEqual(set(proxy.running()), left)


class LogTests(RecipeCase):
    """Watching."""

    def test_history(self) -> None:
        """`curl http://host/logs` prints what was printed."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            self.assertIn("eval time =", self.shell(proxy, "curl -s http://host/logs"))

    def test_sources(self) -> None:
        """All, the proxy alone, the models alone, or one of them."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            for model in ("a", "b"):
                proxy.served(model)
            proxys, models, one, other = "b: ready", "loading model 'a'", "loading model 'b'", "nowhere"
            for path, there, not_there in (
                ("", [proxys, models, one], [other]),
                ("/proxy", [proxys], [models, one]),
                ("/upstream", [models, one], [proxys]),
                ("/b", [one], [proxys, models]),
            ):
                printed = self.shell(proxy, f"curl -Ns http://host/logs/stream{path} -m 1 || [ $? = 28 ]")
                self.assertEqual([text for text in there if text not in printed], [], path)
                self.assertEqual([text for text in not_there if text in printed], [], path)
            quiet = self.shell(proxy, "curl -Ns 'http://host/logs/stream?no-history' -m 1 || [ $? = 28 ]")
            self.assertEqual(quiet, "")

    def test_grep(self) -> None:
        """The live log can be filtered with the tools of a shell."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            script = f"curl -Ns http://127.0.0.1:{proxy.port}/logs/stream | grep -m 4 'eval time'"
            with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as pipeline:
                for _ in range(2):
                    proxy.served("a")
                # grep leaves after four lines, curl at the next line that it cannot write.
                wait_until(lambda: proxy.served("a") and pipeline.poll() is not None, 10)
                assert pipeline.stdout is not None
                self.assertEqual(len(pipeline.stdout.read().splitlines()), 4)
