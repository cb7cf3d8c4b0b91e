"""The composition root, and the door for twistd; no socket is opened here."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.logger import LogEvent, Logger, LogPublisher
from twisted.plugin import IPlugin
from twisted.python.reflect import namedModule
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llama_swap import __version__, composition, tap
from llama_swap.errors import ConfigError
from llama_swap.lifecycle.remarks import Remarks
from llama_swap.logs.observer import event_lines
from llama_swap.settings import Flags, Settings, load
from llama_swap.tap import Options, makeService
from tests.fakes_wire import Answer, Client
from tests.support_tls import make_certificates

GOOD = "models: {a: {cmd: sh, proxy: 'http://127.0.0.1:5800'}}\nlisten: 127.0.0.1:0\n"


class TapTestCase(SynchronousTestCase):
    """A configuration file, and a log of its own."""

    def setUp(self) -> None:
        """Write the file, and divert the log."""
        self.path = self.write(GOOD)
        self.published = LogPublisher()
        self.patch(composition, "globalLogPublisher", self.published)

    def write(self, text: str) -> str:
        """Write a file; return its path."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def options(self, *argv: str) -> Options:
        """Parse a command line."""
        options = Options()
        options.parseOptions(argv)
        return options


class OptionsTests(TapTestCase):
    """What `twistd llama-swap` takes, and refuses before it forks."""

    def refused(self, *argv: str) -> str:
        """Return why a command line is refused."""
        return str(self.assertRaises((UsageError, SystemExit), self.options, *argv))

    def test_spellings(self) -> None:
        """Long and short options mean the same."""
        for argv in (("--config", self.path, "--listen", "127.0.0.2:0"), ("-c", self.path, "-l", "127.0.0.2:0")):
            settings = self.options(*argv).settings
            self.assertEqual((str(settings.sources), settings.address.text), (self.path, "127.0.0.2:0"))
            self.assertEqual(list(settings.config.models), ["a"])

    def test_file_alone(self) -> None:
        """A file needs no option before it; there is one."""
        self.assertEqual(str(self.options("-l", "127.0.0.2:0", self.path).settings.sources), self.path)
        self.assertIn("one file, please", self.refused("-c", self.path, self.path))

    def test_address(self) -> None:
        """The flag wins over the file, and the file over the default."""
        self.patch(tap, "try_to_listen", lambda address: None)
        plain = self.write(GOOD.partition("\n")[0])
        for path, flag, address in (
            (self.path, ["-l", ":99"], ":99"),
            (self.path, [], "127.0.0.1:0"),
            (plain, ["-l", ":99"], ":99"),
            (plain, [], "127.0.0.1:8080"),
        ):
            self.assertEqual(self.options("-c", path, *flag).settings.address.text, address)

    def test_no_config(self) -> None:
        """Without a file there is nothing to serve."""
        self.assertIn("at least one of --config and --config-dir must be given", self.refused())

    def test_bad_config(self) -> None:
        """A file that cannot be used is refused with every problem in it."""
        self.assertIn("/no/such/file.yaml", self.refused("-c", "/no/such/file.yaml"))
        path = self.write("models: {a: {cmd: sh, ttl: never}}\nprofiles: {p: [nobody]}\n")
        message = self.refused("-c", path)
        for place in (f"{path}:1: models.a", f"{path}:2: profiles.p"):
            self.assertIn(place, message)

    def test_bad_address(self) -> None:
        """An address on which nobody can listen is refused; one that is taken, too."""
        for address in ("nonsense", "127.0.0.1:70000", "192.0.2.1:0", "foo:bar", "tcp:abc", "ssl:0:privateKey=/no/pem"):
            self.assertIn(address, self.refused("-c", self.path, "-l", address))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assertIn(
                f"cannot listen on {address}: Address already in use", self.refused("-c", self.path, "-l", address)
            )

    def test_misspelled(self) -> None:
        """An option that does not exist is named."""
        self.assertIn("lisen", self.refused("--lisen", "x"))

    def test_version(self) -> None:
        """The version is llama-swap's own, not Twisted's."""
        with redirect_stdout(out := StringIO()):
            leaving = self.assertRaises(SystemExit, self.options, "--version")
        self.assertEqual((out.getvalue(), leaving.code), (f"llama-swap {__version__}\n", 0))

    def test_help(self) -> None:
        """The help names the options."""
        text = Options().getUsage()
        for part in ("--config=", "--listen=", "127.0.0.1:8080", "llama-swap --help"):
            self.assertIn(part, text)


class MakeServiceTests(TapTestCase):
    """Making everything, before anything begins."""

    def setUp(self) -> None:
        """Keep what is logged."""
        super().setUp()
        self.events: list[LogEvent] = []
        self.patch(Remarks, "_log", Logger(observer=self.events.append))

    def make(self, text: str = GOOD) -> Any:
        """Return the service for a configuration."""
        return makeService(self.options("-c", self.write(text)))

    def logged(self) -> str:
        """Return the lines of the log."""
        return b"".join(map(event_lines, self.events)).decode()

    def test_store(self) -> None:
        """The file for the activity is made ready when the options are read, and only read after that."""
        store = Path(self.mktemp()).absolute()
        options = self.options("-c", self.write(f"{GOOD}store: {{path: {store}}}\n"))
        store.chmod(0o640)
        makeService(options)
        self.assertEqual(stat.S_IMODE(store.stat().st_mode), 0o640)

    def test_opens_nothing(self) -> None:
        """`makeService` runs before twistd forks: no socket, timer or thread may come of it."""
        before = self.opened()
        service = self.make()
        self.assertEqual(self.opened() - before, set())
        verifyObject(IService, service)
        self.assertFalse(service.running)

    def opened(self) -> set[object]:
        """Return what the process has open, its threads, and what waits in the reactor."""
        loop: Any = reactor
        files = {path.readlink() for path in Path("/proc/self/fd").iterdir() if path.exists()}
        return {*files, *threading.enumerate(), *loop.getReaders(), *loop.getDelayedCalls()}

    def ask(self, client: Client, method: str, target: str, body: bytes | None = None, accept: str = "*/*") -> Answer:
        """Return the answer to a request."""
        client.ask(method, target, body, {"Accept": accept})
        return client.answer(method)

    def test_routes(self) -> None:
        """Every room is wired: models, logs, inference and upstreams answer as they should."""
        client = Client(self.make()._site)
        self.addCleanup(client.leave)
        self.assertEqual(self.ask(client, "GET", "/health").body, b"OK")
        self.assertEqual(json.loads(self.ask(client, "GET", "/v1/models").body)["data"][0]["id"], "a")
        self.assertEqual(self.ask(client, "GET", "/logs").status, 200)
        self.assertIn(b"<!doctype html>", self.ask(client, "GET", "/logs", accept="text/html").body.lower())
        self.assertIn(b'"a"', self.ask(client, "GET", "/logs/sources").body)
        for method, target, body, status in (
            ("POST", "/v1/chat/completions", b'{"model": "nobody"}', 404),
            ("POST", "/v1/chat/completions", b"{}", 400),
            ("GET", "/v1/chat/completions", None, 405),
            ("GET", "/upstream/a", None, 301),
            ("GET", "/upstream/nobody/", None, 404),
            ("GET", "/upstream", None, 302),
            ("GET", "/ui/models", None, 200),
            ("GET", "/unload", None, 200),
            ("GET", "/nowhere", None, 404),
        ):
            self.assertEqual(self.ask(client, method, target, body).status, status, target)

    def test_settings_arrive(self) -> None:
        """What the file says about bodies is heard where bodies are read."""
        client = Client(self.make(GOOD + "maxRequestBody: 10\n")._site)
        self.addCleanup(client.leave)
        self.assertEqual(self.ask(client, "POST", "/v1/chat/completions", b'{"model": "a"}').status, 413)

    def test_exposure(self) -> None:
        """A proxy that anybody can reach and use says so; not one that asks for keys, or that only this machine has."""
        here, everywhere = IPv4Address("TCP", "127.0.0.1", 80), IPv4Address("TCP", "0.0.0.0", 80)
        for keys, address, warns in (
            ("", everywhere, True),
            ("apiKeys: [sk-1]\n", everywhere, False),
            ("", here, False),
            ("", UNIXAddress("/run/x.sock"), False),
        ):
            self.events.clear()
            self.make(GOOD + keys)._listening._opened(address)
            self.assertEqual("set apiKeys" in self.logged(), warns, (keys, address))

    def test_remarks(self) -> None:
        """What is odd about the file is logged, with its place."""
        self.make(GOOD.replace("cmd: sh", "cmd: serve, tttl: 5"))
        self.assertIn(":1: models.a.tttl: ", self.logged())
        self.assertIn("[WARN]", self.logged())

    def test_log_reaches_the_log_page(self) -> None:
        """The proxy's own lines are among the logs; what Twisted tells of its daily work is not."""
        client = Client(self.make()._site)
        self.addCleanup(client.leave)
        for namespace, text in (("llama_swap.x", "our line"), ("twisted.internet", "daily work")):
            event = {"log_format": "{text}", "text": text, "log_namespace": namespace, "log_time": 0.0}
            self.published({**event, "log_level": namedModule("twisted.logger").LogLevel.info})
        said = self.ask(client, "GET", "/logs").body
        self.assertIn(b"our line", said)
        self.assertNotIn(b"daily work", said)


class PluginTests(SynchronousTestCase):
    """How twistd finds the proxy."""

    def test_plugin(self) -> None:
        """The plugin points to this module."""
        maker = namedModule("twisted.plugins.llama_swap_plugin").serviceMaker
        verifyObject(IPlugin, maker)
        verifyObject(IServiceMaker, maker)
        self.assertEqual((maker.tapname, maker.module), ("llama-swap", "llama_swap.tap"))
        self.assertIs(maker.options, Options)
        self.assertIs(maker.makeService, makeService)

    def test_no_reactor(self) -> None:
        """Neither door installs a reactor by being imported: twistd has yet to choose one."""
        code = "import sys, llama_swap.tap, llama_swap.cli; sys.exit('twisted.internet.reactor' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class SettingsTests(TapTestCase):
    """`Settings.read`."""

    def test_relative_path(self) -> None:
        """A file is found from where the command was typed."""
        settings = Settings.read(Flags(os.path.relpath(self.path)))
        self.assertEqual(list(settings.config.models), ["a"])

    def test_elsewhere(self) -> None:
        """Everything is found again where it was, also when twistd has gone to another directory."""
        home = Path(self.mktemp()).absolute()
        (home / "more").mkdir(parents=True)
        self.addCleanup(os.chdir, Path.cwd())
        make_certificates(home)
        (home / "config.yaml").write_text(GOOD)
        (home / "more" / "b.yaml").write_text("models: {b: {cmd: sh, proxy: 'http://127.0.0.1:5801'}}")
        for certificate in (
            {"tls_cert_file": "cert.pem", "tls_key_file": "key.pem"},
            {"listen": "ssl:0:certKey=cert.pem:privateKey=key.pem"},
        ):
            os.chdir(home)
            settings = Settings.read(Flags("config.yaml", "more", watch_config=True, **certificate))
            os.chdir("/")
            self.assertEqual(list(load(settings.sources).config.models), ["a", "b"])
            self.assertEqual(settings.watched, settings.stamps(settings.address))
            self.assertEqual(len(settings.watched or ()), 4)
            settings.address.endpoint(None)

    def test_names_in_messages(self) -> None:
        """Messages name a file as it was typed."""
        name = os.path.relpath(self.write("models: {a: {}}"))
        error = self.assertRaises(ConfigError, Settings.read, Flags(name))
        self.assertEqual(error.filename, name)

    def test_watched(self) -> None:
        """The certificate is watched with the files of the configuration, so that a renewed one is noticed."""
        certificate, key = self.write("certificate"), self.write("key")
        settings = Settings.read(Flags(self.path, watch_config=True, tls_cert_file=certificate, tls_key_file=key))
        self.assertEqual(settings.watched, settings.stamps(settings.address))
        files = {str(Path(file).absolute()) for file in (self.path, certificate, key)}
        self.assertEqual(set(settings.stamps(settings.address)), files)
        Path(certificate).write_text("renewed")
        self.assertNotEqual(settings.watched, settings.stamps(settings.address))
