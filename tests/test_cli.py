"""The console script, up to the point where it would serve."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import yaml
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from llama_swap import __version__, cli, tap
from llama_swap.settings import Flags, Settings

ROOT = Path(__file__).parents[1]
GOOD = "models: {a: {cmd: sh, proxy: 'http://127.0.0.1:5800'}}\nlisten: 127.0.0.1:0\n"
BAD = "models: {a: {cmd: serve, proxy: 'http://127.0.0.1:5800', ttl: never}}\nprofiles: {p: [nobody]}\n"


@frozen
class Outcome:
    """What became of a command line."""

    status: int
    out: str
    err: str


class CliTestCase(SynchronousTestCase):
    """A configuration file, and a proxy that does not really serve."""

    def setUp(self) -> None:
        """Write the file."""
        self.path = self.write(GOOD)
        self.served: list[tuple[str, str, str]] = []
        self.patch(tap, "run_in_foreground", self.serve)

    def write(self, text: str | bytes) -> str:
        """Write a file; return its path."""
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def serve(self, settings: Settings, greeting: str) -> None:
        """Take note, instead of serving."""
        self.settings = settings
        self.served.append((str(settings.sources), settings.address.text, greeting))

    def run_main(self, *argv: str) -> Outcome:
        """Run a command line, and exit as a process would."""
        out, err = StringIO(), StringIO()
        status: int | str | None = 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                cli.main(argv)
            except SystemExit as leaving:
                status = leaving.code
        if isinstance(status, str):  # then Python prints it, and exits with 1
            err.write(f"{status}\n")
            status = 1
        return Outcome(status or 0, out.getvalue(), err.getvalue())


class SpellingTests(CliTestCase):
    """How options may be written."""

    def test_serve(self) -> None:
        """Two dashes and one, a space and an equals sign mean the same."""
        for argv in (
            ["--config", self.path, "--listen", "127.0.0.2:0"],
            [f"--config={self.path}", "--listen=127.0.0.2:0"],
            ["-config", self.path, "-listen", "127.0.0.2:0"],
            ["-listen=127.0.0.2:0", f"-config={self.path}"],
        ):
            self.served.clear()
            outcome = self.run_main(*argv)
            self.assertEqual(outcome, Outcome(0, "", ""), argv)
            self.assertEqual(self.served, [(self.path, "127.0.0.2:0", "")])

    def test_file_alone(self) -> None:
        """A file needs no option before it."""
        for argv in ([self.path, "--listen", "127.0.0.2:0"], ["-listen=127.0.0.2:0", self.path]):
            self.run_main(*argv)
        self.assertEqual(self.served, [(self.path, "127.0.0.2:0", "")] * 2)

    def test_go_flags(self) -> None:
        """Flags can be set with a value, as Go's can."""
        for word, watched in (("-watch-config", True), ("--watch-config=true", True), ("-watch-config=false", False)):
            self.run_main("-config", self.path, word)
            self.assertEqual(self.settings.watched is not None, watched, word)
        for word in ("-validate=yes", "--watch-config=on", "-watch-config="):
            self.assertEqual(self.run_main("-config", self.path, word).status, 2, word)

    def test_nothing(self) -> None:
        """Who names no configuration is shown one."""
        for argv in ([], ["check"], ["--listen", ":80"]):
            outcome = self.run_main(*argv)
            self.assertEqual((outcome.status, outcome.out), (1, ""))
            for part in (
                "at least one of --config and --config-dir must be given",
                "cmd: llama-server",
                "llama-swap --help",
            ):
                self.assertIn(part, outcome.err)

    def test_directory(self) -> None:
        """The files of a directory are added to the one file, or do without it."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "no-file.yaml").mkdir()
        (directory / "more.yaml").write_text("models: {b: {cmd: sh, proxy: 'http://127.0.0.1:5801'}}\n")
        self.run_main("-config", self.path, "-config-dir", str(directory))
        self.assertEqual(list(self.settings.config.models), ["a", "b"])
        self.run_main(f"--config-dir={directory}", "--listen=127.0.0.1:0")
        self.assertEqual(list(self.settings.config.models), ["b"])

    def test_listen(self) -> None:
        """The flag wins over the file's `listen`."""
        self.run_main("--config", self.path)
        self.run_main("--config", self.path, "--listen", "127.0.0.3:0")
        self.assertEqual([address for _, address, _ in self.served], ["127.0.0.1:0", "127.0.0.3:0"])

    def test_greeting(self) -> None:
        """Who calls may have something said once the proxy listens."""
        cli.main(["--config", self.path], greeting="try this")
        self.assertEqual(self.served, [(self.path, "127.0.0.1:0", "try this")])

    def test_interrupted(self) -> None:
        """Ctrl-C ends a start as it ends the proxy: with 0, and without a traceback."""

        def interrupted(flags: Flags) -> None:
            raise KeyboardInterrupt

        self.patch(tap, "read_settings", interrupted)
        self.assertEqual(self.run_main("--config", self.path), Outcome(0, "", ""))

    def test_arguments_of_the_process(self) -> None:
        """Without arguments, those of the process count."""
        self.patch(sys, "argv", ["llama-swap", "-config", self.path])
        cli.main()
        self.assertEqual([path for path, *_ in self.served], [self.path])

    def test_version(self) -> None:
        """The version is on stdout, and that is all."""
        for word in ("--version", "-version", "-version=true"):
            self.assertEqual(self.run_main(word), Outcome(0, f"llama-swap {__version__}\n", ""))

    def test_help(self) -> None:
        """The help names every option and command, and the shortest configuration."""
        for word in ("--help", "-help", "-h", "help"):
            outcome = self.run_main(word)
            self.assertEqual((outcome.status, outcome.err), (0, ""))
            for part in ("--config FILE", "--listen ADDRESS", "check", "127.0.0.1:8080", "cmd: llama-server", "twistd"):
                self.assertIn(part, outcome.out)

    def test_help_of_check(self) -> None:
        """`check` has a help of its own."""
        for argv in (["check", "--help"], ["check", "-h"], ["help", "check"]):
            outcome = self.run_main(*argv)
            self.assertEqual((outcome.status, outcome.err), (0, ""))
            for part in ("usage: llama-swap check", "--all", "--quiet", "Exit status"):
                self.assertIn(part, outcome.out)

    def test_any_order(self) -> None:
        """Options may stand before and after the file."""
        self.assertEqual(self.run_main("check", "-q", self.path), self.run_main("check", self.path, "-quiet"))

    def test_schema(self) -> None:
        """The schema is printed as it stands in docs/."""
        outcome = self.run_main("schema")
        self.assertEqual(outcome, Outcome(0, (ROOT / "docs" / "config-schema.json").read_text(), ""))

    def test_misspelled(self) -> None:
        """What is no command line gets the usage, and status 2."""
        for argv, named in (
            (["--config"], "--config"),
            ([self.path, "other.yaml"], "other.yaml"),
            (["serve", self.path], "there is no command 'serve'"),
            (["check", "--config", self.path, "other.yaml"], "other.yaml"),
            (["--config", self.path, "--lisen=x"], "--lisen"),
            (["--config", self.path, "--port=1"], "--port=1; use --listen HOST:PORT"),
            ([self.path, "-host", "::", "-port", "1"], "use --listen HOST:PORT"),
            ([self.path, "-listen-tailcat", "x"], "Tailcat is not spoken here"),
            (["--config", self.path, "--quiet"], "--quiet"),
        ):
            outcome = self.run_main(*argv)
            self.assertEqual((outcome.status, outcome.out), (2, ""), argv)
            self.assertTrue(outcome.err.startswith("usage: llama-swap"), outcome.err)
            self.assertIn(named, outcome.err)
        self.assertEqual(self.served, [])


class CheckTests(CliTestCase):
    """`llama-swap check`."""

    def test_good(self) -> None:
        """All that a file comes to is on stdout, and a summary on stderr; nothing is served."""
        for argv in (["check", "--config", self.path], ["-config", self.path, "check"], ["check", self.path]):
            outcome = self.run_main(*argv)
            self.assertEqual((outcome.status, outcome.err), (0, f"{self.path} is fine: 1 model\n"))
            self.assertEqual(yaml.safe_load(outcome.out)["models"]["a"]["proxy"], "http://127.0.0.1:5800")
            self.assertNotIn("null", outcome.out)
        self.assertEqual(self.served, [])

    def test_flag(self) -> None:
        """The original has a flag for it."""
        for words in (["-validate"], ["--validate=true"], ["check", "-validate"]):
            outcome = self.run_main(*words, "-config", self.path)
            self.assertEqual(outcome, Outcome(0, "", f"{self.path} is fine: 1 model\n"))
        self.assertEqual(self.run_main("-config", self.write(BAD), "-validate").status, 1)
        self.assertEqual(self.served, [])
        self.run_main("-validate=false", "-config", self.path)
        self.assertEqual(len(self.served), 1)

    def test_summary(self) -> None:
        """What there is, is counted."""
        more = "groups: {g: {members: [a]}}\nprofiles: {p: [a], q: {pins: {x: a}}}\npeers: {h: {proxy: http://h}}\n"
        path = self.write(GOOD + more)
        outcome = self.run_main("check", path)
        self.assertEqual(outcome.err, f"{path} is fine: 1 model, 2 profiles, 1 group, 1 peer\n")
        noted = self.write("models: {a: {cmd: sh --port 1}}\n")
        note, summary = self.run_main("check", noted).err.splitlines()
        self.assertEqual((note[:6], summary), ("note: ", f"{noted} is fine: 1 model"))
        nothing = self.write("models: {}\n")
        self.assertTrue(self.run_main("check", nothing).err.endswith("can be used, with 1 warning: no models\n"))

    def test_readable_keys(self) -> None:
        """Keys that everybody can read are told with the line of the first one."""
        path = self.write(f"{GOOD}apiKeys:\n  - sk-two\n  - sk-one\n")
        Path(path).chmod(0o644)
        self.assertIn(f"warning: {path}:4: apiKeys: every user of this machine", self.run_main("check", path).err)

    def test_all(self) -> None:
        """Defaults are shown if they are wanted."""
        for argv, shown in ((["check"], False), (["check", "-a"], True), (["check", "--all"], True)):
            outcome = self.run_main(*argv, self.path)
            self.assertEqual("checkEndpoint: /health" in outcome.out, shown, argv)
            self.assertEqual((outcome.status, outcome.err), (0, f"{self.path} is fine: 1 model\n"))

    def test_nowhere(self) -> None:
        """A directory that somebody has removed is no matter to whoever stands in it, if the paths are absolute."""
        before, gone, directory = Path.cwd(), Path(self.mktemp()), Path(self.mktemp()).resolve()
        gone.mkdir(parents=True)
        directory.mkdir()
        (directory / "a.yaml").write_text(GOOD)
        path = str(Path(self.path).resolve())
        self.addCleanup(os.chdir, before)
        os.chdir(gone)
        (before / gone).rmdir()
        self.assertEqual(self.run_main("check", "-q", path), Outcome(0, "", f"{path} is fine: 1 model\n"))
        outcome = self.run_main("check", "-q", "--config", "b.yaml", "--config-dir", str(directory))
        self.assertEqual(outcome.status, 1)
        self.assertIn("error: b.yaml: cannot be read: No such file or directory\n", outcome.err)

    def test_quiet(self) -> None:
        """Only what is to be said about the file is printed, if nothing else is wanted."""
        for word in ("-q", "--quiet"):
            outcome = self.run_main("check", word, self.path)
            self.assertEqual(outcome, Outcome(0, "", f"{self.path} is fine: 1 model\n"))

    def test_warnings(self) -> None:
        """Warnings are on stderr, each with its place; they are counted, and do not change the status."""
        path = self.write(GOOD.replace("cmd: sh", "cmd: sh, tttl: 5"))
        outcome = self.run_main("check", "--config", path)
        warning, summary = outcome.err.splitlines()
        self.assertTrue(warning.startswith(f"warning: {path}:1: models.a.tttl: "), outcome.err)
        self.assertEqual((outcome.status, summary), (0, f"{path} can be used, with 1 warning: 1 model"))
        self.assertEqual(list(yaml.safe_load(outcome.out)["models"]), ["a"])

    def test_bad(self) -> None:
        """Every problem of a file is shown in one go, each in a line of the same form; they are counted."""
        path = self.write(BAD)
        outcome = self.run_main("check", "--config", path)
        self.assertEqual((outcome.status, outcome.out), (1, ""))
        first, second, summary = outcome.err.splitlines()
        self.assertIn(f"error: {path}:1: models.a.ttl: ", first)
        self.assertIn(f"error: {path}:2: profiles.p", second)
        self.assertEqual(summary, f"{path} cannot be used: 2 errors")

    def test_warnings_beside_errors(self) -> None:
        """A file with errors gets its warnings as well, and so does one that is to be served."""
        path = self.write(BAD.replace("cmd: serve", "cmd: serve, tttl: 5"))
        told = f"{path} cannot be used: 2 errors, 1 warning\n"
        for argv, summary in ((["check", path], told), ([path], "")):
            outcome = self.run_main(*argv)
            self.assertEqual(outcome.status, 1)
            self.assertTrue(outcome.err.startswith(f"warning: {path}:1: models.a.tttl: "), outcome.err)
            self.assertTrue(outcome.err.endswith(summary), outcome.err)
            self.assertIn(f"\nerror: {path}:1: models.a.ttl: ", outcome.err)

    def test_missing_program(self) -> None:
        """A program that this machine does not have is one warning: it may be meant for another one."""
        models = ", ".join(f"{name}: {{cmd: 'no-such-program --port ${{PORT}}'}}" for name in "abc")
        path = self.write(f"models: {{{models}}}\n")
        outcome = self.run_main("check", path)
        self.assertEqual(outcome.status, 0)
        line, _ = outcome.err.splitlines()
        self.assertTrue(line.startswith(f"warning: {path}:1: models.a.cmd: there is no program 'no-such-program' here"))
        self.assertTrue(line.endswith(" (for a, b, c)"), line)
        shared = "x-base: &b {cmd: 'no-such-program --port ${PORT}'}\nmodels: {a: {<<: *b}, bee: {<<: *b}}\n"
        for text, models in ((shared, "a, bee"), (shared.replace("a: {<<: *b}, ", ""), "bee")):
            path = self.write(text)
            line, _ = self.run_main("check", path).err.splitlines()
            self.assertTrue(line.startswith(f"warning: {path}:1: x-base.cmd: there is no program"), line)
            self.assertTrue(line.endswith(f" (for {models})"), line)
        own = self.write(GOOD.replace("cmd: sh", "cmd: no-such-program"))
        self.assertNotIn("(for", self.run_main("check", own).err)
        elsewhere = self.write(GOOD.replace("cmd: sh", "cmd: sh, env: [PATH=/nowhere]"))
        self.assertEqual(self.run_main("check", elsewhere).err, f"{elsewhere} is fine: 1 model\n")
        without = self.write(GOOD.replace("cmd: sh", "proxy: http://x"))
        self.assertNotIn("no program", self.run_main("check", without).err)

    def test_meant_for_a_shell(self) -> None:
        """What only a shell could do is told once, with its place, and is no reason to install anything."""
        path = self.write("models:\n  a:\n    cmd: cd /x && sh --port ${PORT}\n  b:\n    cmd: A=1 sh --port ${PORT}\n")
        first, second, summary = self.run_main("check", path).err.splitlines()
        self.assertTrue(first.startswith(f"warning: {path}:3: models.a.cmd: no shell runs this"), first)
        self.assertTrue(second.startswith(f"warning: {path}:5: models.b.cmd: no shell runs this"), second)
        self.assertTrue(summary.endswith("2 warnings: 2 models"))

    def test_store(self) -> None:
        """A file for the activity that cannot be used is an error here as it is at the start; none is made."""
        for store in ("/no/such/directory/a.db", "/proc/a.db", self.path):
            outcome = self.run_main("check", self.write(f"{GOOD}store: {{path: '{store}'}}\n"))
            self.assertEqual((outcome.status, outcome.out), (1, ""))
            self.assertIn(":3: store.path: ", outcome.err)
            self.assertIn(f": {store} cannot be used: ", outcome.err)
        new = Path(self.mktemp())
        self.assertEqual(self.run_main("check", self.write(f"{GOOD}store: {{path: '{new}'}}\n")).status, 0)
        self.assertFalse(new.exists())

    def test_address(self) -> None:
        """An address that is none, or a certificate that cannot be used, is an error here, too."""
        for flags, told in (
            (["--listen", "8080"], "cannot listen on '8080'"),
            (["--listen", "http://127.0.0.1:8080"], "Unknown endpoint type: 'http'; write HOST:PORT, :PORT for"),
            (["--listen", "tcp:http"], "'http'; write HOST:PORT, :PORT for every interface, or a Twisted endpoint"),
            (["--listen", "ssl:1:privateKey=/no/key.pem"], "/no/key.pem cannot be read"),
            (["--tls-cert-file", self.path, "--tls-key-file", self.path], f"{self.path} is not a certificate"),
            (["--tls-cert-file", self.path], "--tls-cert-file and --tls-key-file belong together"),
        ):
            outcome = self.run_main("check", self.path, *flags)
            self.assertEqual((outcome.status, outcome.out), (1, ""))
            self.assertIn(told, outcome.err.splitlines()[-2])
        self.assertEqual(self.run_main("check", self.path, "--listen", "systemd:domain=INET:name=http").status, 0)

    def test_places(self) -> None:
        """What the file names and cannot be had is told with its place there, all at once, and so at a start."""
        path = self.write("models: {}\nstore:\n  path: /no/such/directory/a.db\nlisten: http://127.0.0.1:8080\n")
        listen, store = f"error: {path}:4: listen: cannot listen on 'http:", f"error: {path}:3: store.path: /no/such/"
        outcome = self.run_main("check", path)
        self.assertEqual(outcome.status, 1)
        _, first, second, summary = outcome.err.splitlines()
        self.assertTrue(first.startswith(listen), outcome.err)
        self.assertTrue(second.startswith(store), outcome.err)
        self.assertEqual(summary, f"{path} cannot be used: 2 errors, 1 warning")
        self.assertTrue(self.run_main(path).err.startswith(listen))
        self.assertTrue(self.run_main(path, "--listen", "127.0.0.1:0").err.startswith(store))

    def test_places_on_the_command_line(self) -> None:
        """What the command line names is not looked for in the file."""
        for command in ([], ["check"]):
            told = self.run_main(*command, self.path, "--listen", "http://127.0.0.1:8080").err
            self.assertTrue(told.startswith("error: cannot listen on 'http:"), told)
            told = self.run_main(*command, self.path, "--tls-cert-file", "/no.pem", "--tls-key-file", "/no.pem").err
            self.assertTrue(told.startswith("error: /no.pem cannot be read"), told)

    def test_open_to_all(self) -> None:
        """An address that others reach, without keys, is the warning that a start logs, wherever the address stands."""
        path = self.write(GOOD.replace("127.0.0.1:0", "':8080'"))
        for argv, where in (
            (["check", path], f"{path}:2: listen"),
            (["check", self.path, "--listen", "tcp:8080"], "--listen tcp:8080"),
        ):
            outcome = self.run_main(*argv)
            self.assertEqual(outcome.status, 0)
            self.assertIn(f"warning: {where}: every machine that can reach this one", outcome.err)
            self.assertIn("with 1 warning", outcome.err)
        with_keys = self.write(f"{GOOD}apiKeys: [sk-1]\n")
        Path(with_keys).chmod(0o600)
        for argv in (["check", path, "--listen", "127.0.0.1:0"], ["check", with_keys, "--listen", ":8080"]):
            self.assertNotIn("warning", self.run_main(*argv).err)

    def test_example(self) -> None:
        """A copy of the example can be used; what is said is about this machine."""
        path = self.write((ROOT / "config.example.yaml").read_bytes())
        outcome = self.run_main("check", path)
        self.assertEqual(outcome.status, 0, outcome.err)
        for line in outcome.err.splitlines()[:-1]:
            self.assertRegex(line, rf"^warning: {path}:\d+: models\.[^:]+\.cmd: there is no (program|file) ")

    def test_reader_leaves(self) -> None:
        """Whoever reads the output need not read all of it, as `head` does not."""
        models = "".join(f"  m{number}: {{cmd: 'sh --port ${{PORT}}'}}\n" for number in range(100))
        path = self.write(f"models:\n{models}")
        for argv, told in ((["check", path], f"{path} is fine: 100 models\n"), (["schema"], "")):
            reading, writing = os.pipe()
            os.close(reading)
            command = [sys.executable, "-m", "llama_swap.cli", *argv]
            ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
            os.close(writing)
            self.assertEqual((ended.returncode, ended.stderr), (0, told))

    def test_does_not_listen(self) -> None:
        """A file may be checked while the proxy that uses it runs."""
        path = self.write(GOOD.replace("127.0.0.1:0", "192.0.2.1:1"))
        self.assertEqual(self.run_main("check", "--config", path).status, 0)


class ErrorTests(CliTestCase):
    """What cannot be served ends with a message and status 1."""

    def failed(self, *argv: str) -> str:
        """Return the message."""
        outcome = self.run_main(*argv)
        self.assertEqual((outcome.status, outcome.out, self.served), (1, "", []))
        self.assertTrue(outcome.err.startswith("error: "), outcome.err)
        self.assertNotIn("Traceback", outcome.err)
        return outcome.err

    def test_files(self) -> None:
        """A file that is not there, is none, or cannot be read is named."""
        for path in (
            "/no/such/file.yaml",
            "/",
            self.write(b"\xff\xfe\0"),
            self.write("models: [\n"),
            self.write(""),
            self.write(BAD),
        ):
            for argv in (["--config", path], ["check", "--config", path]):
                self.assertIn(path, self.failed(*argv))

    def test_verdict(self) -> None:
        """A `check` says how many errors it was."""
        self.assertTrue(self.failed("check", "/no/such/file.yaml").endswith("file.yaml cannot be used: 1 error\n"))

    def test_addresses(self) -> None:
        """An address on which nobody can listen is named."""
        for address in (
            "nonsense",
            "localhost:",
            "127.0.0.1:70000",
            "192.0.2.1:0",
            "foo:bar",
            "tcp:abc",
            "tcp:1:2:3:4:5",
            "ssl:0:privateKey=/no/such.pem",
            f"ssl:0:privateKey={Path(self.path).absolute()}",
            "systemd:domain=INET:name=http",
        ):
            self.assertIn(address, self.failed("--config", self.path, "--listen", address))

    def test_endpoint_strings(self) -> None:
        """Twisted's own strings are taken as they are, the short ones too."""
        for address in ("tcp:0", "tcp6:0", "tcp:0:interface=127.0.0.1", "unix:/run/x.sock", "haproxy:tcp:0"):
            self.served.clear()
            self.run_main("--config", self.path, "--listen", address)
            self.assertEqual(self.served, [(self.path, address, "")])

    def test_as_a_process(self) -> None:
        """The same from outside: one message on stderr, nothing else."""
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "llama_swap.cli", *argv],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for argv in (["--config", "/no/such/file.yaml"], ["--config", self.path, "--listen", "unix:/no/such/sock"])
        ]
        for process in processes:
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (1, ""), err)
            self.assertTrue(err.startswith("error: "), err)
            self.assertNotIn("Traceback", err)
