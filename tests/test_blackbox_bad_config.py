"""A configuration that cannot be used ends the program with a message that helps, and with nothing else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_models, run_proxy

GOOD = "models:\n  a:\n    cmd: sleep 60 --port 9\n    proxy: http://127.0.0.1:9\n"
PROXY = "    proxy: http://127.0.0.1:9\n"


class BadConfigTests(SynchronousTestCase):
    """Exit status 1, the place and the cure on stderr, no traceback."""

    def refused(self, *args: str) -> str:
        """Return what the program says on stderr when it refuses to start."""
        ended = run_proxy(*args)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)
        self.assertNotIn("listening on", ended.stdout + ended.stderr)
        return ended.stderr

    def refused_text(self, text: str | bytes) -> str:
        """Return what the program says to this configuration; it names the file."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        said = self.refused("--config", str(path), "--listen", "127.0.0.1:0")
        self.assertIn(str(path), said)
        return said.replace(str(path), "FILE")

    def test_no_config(self) -> None:
        """Without a file the program says that it needs one."""
        ended = run_proxy()
        self.assertEqual(ended.returncode, 1)
        self.assertIn("at least one of --config and --config-dir must be given", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)

    def test_no_file(self) -> None:
        """A file that is not there, and a directory, are named."""
        for path in ("/no/such/config.yaml", "/tmp"):
            self.assertIn(path, self.refused("--config", path))

    def test_unreadable(self) -> None:
        """A file that may not be read is named."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD)
        path.chmod(0)
        if os.access(path, os.R_OK):
            path = Path("/proc/self/mem")  # root may read any file but this one
        self.assertIn(str(path), self.refused("--config", str(path)))

    def test_empty(self) -> None:
        """An empty file, or one without `models`, lacks them; where there are none yet, that is no reason to refuse."""
        for text in ("", "# nothing\n", "healthCheckTimeout: 60\n"):
            self.assertIn("models", self.refused_text(text))
        for text in ("models: {}\n", "models:\n"):
            with ProxyUnderTest(text) as proxy:
                self.assertIn("there are no models", proxy.log())
                self.assertEqual(proxy.get("/v1/models").json()["data"], [])

    def test_broken_yaml(self) -> None:
        """Broken YAML is told with its line."""
        self.assertRegex(self.refused_text("models:\n  a:\n   cmd: [unclosed\n"), "(FILE:|line )3")
        self.assertIn("FILE:2", self.refused_text("models:\n\ta: {}\n"))
        self.refused_text(b"models: \xff\xfe\n")
        self.refused_text("[" * 20_000)

    def test_duplicate_keys(self) -> None:
        """A key that stands twice is told with the line of the second."""
        said = self.refused_text(f"{GOOD}  a:\n    cmd: again --port 8\n")
        self.assertIn("FILE:5", said)
        self.assertIn("a", said)

    def test_wrong_types(self) -> None:
        """Values of the wrong kind are told, all in one go, with line and key path."""
        top = "healthCheckTimeout: soon\nlogRequests: 7\n"
        said = self.refused_text(f"{top}models:\n  a:\n    cmd: {{}}\n    ttl: [1]\n    aliases: 3\n")
        problems = ("FILE:1: healthCheckTimeout", "FILE:2: logRequests", "FILE:5: models.a.cmd")
        for problem in (*problems, "FILE:6: models.a.ttl", "FILE:7: models.a.aliases"):
            self.assertIn(problem, said)
        for text in ("- a\n- b\n", "models: [a]\n", "models:\n  a: x\n", "just text\n"):
            self.refused_text(text)

    def test_unknown_references(self) -> None:
        """A profile's member that is no model, and an unknown macro, are told with their line."""
        self.assertIn("FILE:7: profiles.p", self.refused_text(f"{GOOD}profiles:\n  p:\n    - nobody\n"))
        said = self.refused_text("models:\n  a:\n    cmd: x ${nothing}\n")
        self.assertIn("FILE:3: models.a.cmd", said)
        self.assertIn("nothing", said)
        self.assertEqual(len(said.splitlines()), 1, said)

    def test_indentation(self) -> None:
        """A key of a model that is not indented far enough is told as that, and is all that is wrong."""
        said = self.refused_text("models:\n  a:\n  cmd: x --port 9\n")
        self.assertRegex(said, r"\Aerror: FILE:3: models.cmd: .*indent it.*'a'\n\Z")

    def test_duplicate_aliases(self) -> None:
        """An alias that two models claim is told with both names."""
        text = f"{GOOD}    aliases: [x]\n  b:\n    cmd: y --port 8\n    aliases: [x]\n"
        said = self.refused_text(text)
        self.assertIn("FILE:8", said)
        self.assertIn("x", said)

    def test_empty_command(self) -> None:
        """A model without a command is told, but is no reason to refuse the others; one that cannot be read is."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in ('cmd: ""', "cmd: ''", "cmd:", 'cmd: "   "', 'cmd: "# only a comment"', "name: x"):
            path.write_text(f"models:\n  a:\n    {line}\n{PROXY}")
            told = run_proxy("check", str(path))
            self.assertEqual(told.returncode, 0, told.stderr)
            self.assertRegex(told.stderr, "warning: .*models.a.*cmd")
        self.assertIn("cmd", self.refused_text('models:\n  a:\n    cmd: "open \'quote --port 9"\n'))

    def test_no_port(self) -> None:
        """A model whose address nobody can know is told what to add."""
        self.assertIn("proxy", self.refused_text("models:\n  a:\n    cmd: server -m x\n"))

    def test_hostile_yaml(self) -> None:
        """Objects are not built, and a small file that grows without end is refused soon."""
        self.refused_text("models: !!python/object/apply:os.system ['touch /tmp/never']\n")
        levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
        self.refused_text(f"l0: &l0 [x]\n{levels}{GOOD}")

    def test_port_in_use(self) -> None:
        """An address that is taken is named."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assertIn(address, self.refused("--config", str(path), "--listen", address))

    def test_bad_address(self) -> None:
        """An address that is none is named."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD)
        for address in ("127.0.0.1:many", "127.0.0.1:99999", "nonsense"):
            self.assertIn(address, self.refused("--config", str(path), "--listen", address))

    def test_check(self) -> None:
        """`check` tells the same problems, and shows what a good file means."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD)
        good = run_proxy("check", "--config", str(path))
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertIn("sleep", good.stdout)
        path.write_text(GOOD + "    ttl: soon\n")
        self.assertIn(f"{path}:5: models.a.ttl", self.refused("check", "--config", str(path)))

    def test_unknown_keys_are_warnings(self) -> None:
        """A key that nobody knows is no reason to refuse; the nearest known one is named."""
        config = fake_models("a", healthCheckTimeOut=60)
        config["models"]["a"]["alias"] = ["x"]
        with ProxyUnderTest(config) as proxy:
            for word in ("healthCheckTimeOut", "healthCheckTimeout", "models.a.alias", "aliases"):
                self.assertIn(word, proxy.log())
            self.assertEqual(proxy.served("a"), "a")

    def test_names_stay_as_typed(self) -> None:
        """Names that YAML would take for something else stay names."""
        names = ("3.10", "no", "1e3", "12:30", "~", "null", "0x1F", "1_000", "010", "2026-01-02")
        text = "models:\n" + "".join(
            f"  {name}:\n    cmd: x --port 9\n    proxy: http://127.0.0.1:{number}\n"
            for number, name in enumerate(names, 9)
        )
        with ProxyUnderTest(text) as proxy:
            listed = proxy.get("/v1/models").json()["data"]
            self.assertEqual({entry["id"] for entry in listed}, set(names))
