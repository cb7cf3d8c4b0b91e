"""The examples in docs/ and examples/ are good configurations, and compare.py tells what it sees."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.keys import MODEL
from llama_swap.config.load import load_config, parse_config
from tests.blackbox import ROOT, ProxyUnderTest, fake_model, tested_environment
from tests.support_processes import free_port

EXAMPLES = ROOT / "docs" / "examples"
COMPARE = EXAMPLES / "find-fastest-settings" / "compare.py"
NAMES = ("qwen", "llama", "nomic-embed")
"""The models that blocks without `models` are about."""
ENVIRON = {
    "HOME": "/home/me",
    "LLAMA_SWAP_KEY": "sk-1",
    "LLAMA_SWAP_DEMO_MODEL": "/models/small.gguf",
    "LLAMA_SWAP_DEMO_START_PORT": "5800",
}


def loaded(path: Path) -> Any:
    """Import a script that is no part of the package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def snippets(document: Path) -> Iterator[str]:
    """Return the YAML blocks of a document, with the indentation of the list they may stand in taken off."""
    for block in re.finditer(r"^( *)```yaml\n(.*?)^\1```", document.read_text(), re.MULTILINE | re.DOTALL):
        yield re.sub(f"^{block[1]}", "", block[2], flags=re.MULTILINE)


def completed(snippet: str) -> str:
    """Return a whole file with a YAML block in it, which may be such a file, or keys of a model or of the top level."""
    snippet = textwrap.dedent(snippet)
    keys = set(re.findall(r"^\w+(?=:)", snippet, re.MULTILINE))
    if keys and keys <= {key.name for key in MODEL}:
        cmd = "" if "cmd" in keys else "cmd: x --port 1\n"
        return "models:\n  m:\n" + textwrap.indent(cmd + snippet, "    ")
    models = "" if "models" in keys else "".join(f"  {name}: {{cmd: 'x ${{PORT}}'}}\n" for name in NAMES)
    profile = "profiles: {coding: {pins: {}}}\n" if "hooks" in keys else ""
    return (models and f"models:\n{models}") + profile + snippet


class ConfigurationTests(SynchronousTestCase):
    """What people copy."""

    def test_files(self) -> None:
        """Every configuration loads, and nothing in it is worth a warning."""
        files = [*EXAMPLES.rglob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")]
        self.assertGreaterEqual(len(files), 4)
        for file in files:
            self.assertEqual(load_config(str(file), environ=ENVIRON).warnings, (), file)

    def test_snippets(self) -> None:
        """So does every YAML block of the manual, once what it leaves out is there."""
        documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        texts = [(document, snippet) for document in documents for snippet in snippets(document)]
        ours = [each for each in texts if not each[1].startswith(("services:", "scrape_configs:"))]  # of other programs
        self.assertGreater(len(ours), 30)
        for document, snippet in ours:
            loaded = parse_config(completed(snippet), filename=str(document), environ=ENVIRON)
            self.assertEqual(loaded.warnings, (), (document, snippet))

    def test_container(self) -> None:
        """What the image is made of is there, and all that the wheel is made of is in it."""
        lines = (ROOT / "contrib" / "Containerfile").read_text().splitlines()
        copied = [source for line in lines if line.startswith("COPY") for source in line.split()[1:-1]]
        for source in copied:
            self.assertTrue((ROOT / source).exists(), source)
        wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        for source in (*wheel["packages"], *wheel["force-include"]):
            self.assertTrue(any(Path(source).is_relative_to(whole) for whole in copied), source)

    def test_draft_models_can_be_compared(self) -> None:
        """Each model with a draft model is there without one too, under another name."""
        file = EXAMPLES / "speculative-decoding" / "config.yaml"
        models = load_config(str(file), environ=ENVIRON).config.models
        drafting = [name for name, model in models.items() if "-md" in model.cmd]
        self.assertEqual([name for name in models if "-draft" in name], drafting)
        self.assertNotEqual(drafting, [])
        for name in drafting:
            model, plain = models[name], models[name.partition("-draft")[0]]
            self.assertEqual(plain.cmd[plain.cmd.index("-m") + 1], model.cmd[model.cmd.index("-m") + 1])


class MeasuringTests(SynchronousTestCase):
    """compare.py: from the events of an answer to numbers."""

    def setUp(self) -> None:
        """Import the script."""
        self.compare = loaded(COMPARE)

    def text(self, **more: object) -> dict[str, object]:
        """Return an event that brings text."""
        return {"choices": [{"delta": {"content": "word"}}], **more}

    def test_own_clock(self) -> None:
        """Without timings the arrivals count: the prompt is read until the first text, the rest is generation."""
        role = {"choices": [{"delta": {"role": "assistant", "content": None}}]}
        usage = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 11}}
        arriving = [(10.5, role), (12.0, self.text()), (13.0, self.text()), (14.0, self.text()), (14.0, usage)]
        run = self.compare.judged(10.0, arriving)
        self.assertEqual(run, self.compare.Run(first_token=2.0, prompt_rate=50.0, rate=5.0))

    def test_no_usage(self) -> None:
        """A server that does not count is counted for: each piece is taken as a token."""
        run = self.compare.judged(10.0, [(12.0, self.text()), (13.0, self.text()), (14.0, self.text())])
        self.assertEqual(run, self.compare.Run(first_token=2.0, prompt_rate=None, rate=1.0))

    def test_timings_of_llama_cpp(self) -> None:
        """What the server has measured itself is preferred."""
        timings = {"prompt_per_second": 300.0, "predicted_per_second": 40.0, "draft_n": 10, "draft_n_accepted": 7}
        run = self.compare.judged(10.0, [(12.0, self.text()), (12.5, {"choices": [], "timings": timings})])
        self.assertEqual(run, self.compare.Run(2.0, 300.0, 40.0, drafted=10, accepted=7))

    def test_thoughts_are_text(self) -> None:
        """A model that thinks first has begun to answer."""
        thought = {"choices": [{"delta": {"reasoning_content": "hm"}}]}
        self.assertEqual(self.compare.judged(0.0, [(1.0, thought), (2.0, self.text())]).first_token, 1.0)

    def test_nothing_said(self) -> None:
        """An answer without text is no measurement."""
        self.assertRaises(self.compare.Failed, self.compare.judged, 0.0, [(1.0, {"choices": []})])

    def test_stream_that_ends_early(self) -> None:
        """An answer counts only with its end."""
        lines = [b"data: " + json.dumps(self.text()).encode() + b"\n", b"\n"]
        whole = [*lines, b": ping\n", b"data: [DONE]\n"]
        self.assertEqual([event for _, event in self.compare.events(whole)], [self.text()])
        error = self.assertRaises(self.compare.Failed, list, self.compare.events(lines))
        self.assertIn("broke off", str(error))

    def test_error_within_a_stream(self) -> None:
        """An error that comes as an event is told in its own words."""
        lines = [b'data: {"error": {"message": "out of memory"}}\n']
        error = self.assertRaises(self.compare.Failed, list, self.compare.events(lines))
        self.assertEqual(str(error), "out of memory")

    def test_table(self) -> None:
        """Medians side by side, the best of each column marked, unknown values as dashes, failures below."""
        run, result = self.compare.Run, self.compare.Result
        slow = result("slow", 2.0, [run(0.5, None, rate) for rate in (1.0, 3.0, 2.5)])
        fast = result("fast-one", None, [run(0.25, 100.0, 8.0, drafted=4, accepted=3)])
        self.assertEqual(
            self.compare.table([slow, fast, result("bad", failure="no such file\nits last line")]).splitlines(),
            [
                "model    load s  first token s  prompt tok/s  generation tok/s  lowest  highest  drafts accepted",
                "slow        2.0*          0.50             –               2.5     1.0      3.0                –",
                "fast-one      –           0.25*        100.0*              8.0*    8.0      8.0             75 %",
                "bad failed: no such file",
                "    its last line",
            ],
        )


class ComparingTests(SynchronousTestCase):
    """compare.py against the real proxy."""

    def run_compare(self, port: int, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        command = [sys.executable, str(COMPARE), "--url", f"http://127.0.0.1:{port}", "--runs", "2", *args]
        return subprocess.run(
            command, env=tested_environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def test_every_listed_model(self) -> None:
        """Each is asked in turn, failures are told in the proxy's words, and the others go on."""
        models = {
            "broken": fake_model("broken", "--exit-after 0 --load-delay 60"),
            "dies": fake_model("dies", "--die-mid-stream"),
            "slow": fake_model("slow", "--stream 5@40"),
            "swift": fake_model("swift", "--stream 5@2"),
        }
        with ProxyUnderTest({"models": models}) as proxy:
            done = self.run_compare(proxy.port)
            asked = [(event["model"], event["told"]) for event in proxy.journal.events("req")]
        self.assertEqual(done.returncode, 1)
        self.assertEqual(asked, [(name, name) for name in ["dies"] * 2 + ["slow"] * 3 + ["swift"] * 3])
        head, *rows = (line for line in done.stdout.splitlines() if " failed: " not in line and line[0] != " ")
        self.assertIn("generation tok/s", head)
        self.assertEqual([row.split()[0] for row in rows], ["slow", "swift"])
        self.assertEqual([row.split()[3].endswith("*") for row in rows], [False, True], done.stdout)
        self.assertRegex(done.stdout, r"\nbroken failed: .*exit status 1")
        self.assertRegex(done.stdout, r"\ndies failed: ")
        self.assertIn("swift: loading; run 1 of 2, run 2 of 2: done\n", done.stderr)
        self.assertIn("broken: loading: failed\n", done.stderr)

    def test_chosen_models(self) -> None:
        """Names on the command line are asked in their order; one that runs already has no time of loading."""
        models = {name: fake_model(name) for name in ("a", "b", "c")}
        with ProxyUnderTest({"models": models}) as proxy:
            proxy.served("c")
            done = self.run_compare(proxy.port, "c", "a")
        self.assertEqual(done.returncode, 0, done.stderr)
        _, first, second = done.stdout.splitlines()
        self.assertEqual(first.split()[:2], ["c", "–"])
        self.assertEqual(second.split()[0], "a")

    def test_no_proxy(self) -> None:
        """Where nobody listens, one line says so."""
        port = free_port()
        done = self.run_compare(port)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(
            done.stderr,
            f"compare.py: cannot reach http://127.0.0.1:{port}: Connection refused; "
            "is llama-swap running there? --url says where\n",
        )

    def test_no_prompt(self) -> None:
        """A prompt that cannot be read is told before anything is loaded."""
        done = self.run_compare(free_port(), "--prompt", "/nowhere.txt")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere.txt", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
