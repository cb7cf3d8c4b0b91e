"""Models: their addresses, ports and names."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, errors, load, model, one_model


class PortTests(FindingsTestCase):
    """Where the server of a model is found."""

    def test_given_ports(self) -> None:
        """Ports go to those that ask, in the order of their names, past those that are fixed."""
        text = """\
startPort: 9000
models:
  z: {cmd: 'x --port ${PORT}'}
  fixed: {cmd: x --port 9001, proxy: 'http://127.0.0.1:9001'}
  a: {cmd: 'x --port ${PORT}', proxy: 'http://127.0.0.1:${PORT}/v1/'}
  named: {cmd: x --port 9002}
  remote: {cmd: x, proxy: 'http://gpu/'}
  by-env: {cmd: llama-server, env: ['LLAMA_ARG_PORT=${PORT}']}
  own: {cmd: x --listen 9005, proxy: 'http://localhost:9005', checkEndpoint: none}
  container: {cmd: 'docker run -p ${PORT}:80 x', proxy: 'http://${MODEL_ID}:${PORT}'}
"""
        loaded = load(text)
        proxies = {name: told.proxy for name, told in loaded.config.models.items()}
        self.assertEqual(
            proxies,
            {
                "z": "http://localhost:9006",
                "fixed": "http://127.0.0.1:9001",
                "a": "http://127.0.0.1:9000/v1",
                "named": "http://localhost:9002",
                "remote": "http://gpu",
                "by-env": "http://localhost:9003",
                "own": "http://localhost:9005",
                "container": "http://container:9004",
            },
        )
        self.assertEqual(list(proxies), ["z", "fixed", "a", "named", "remote", "by-env", "own", "container"])
        self.assertEqual(loaded.config.models["by-env"].env, {"LLAMA_ARG_PORT": "9003"})
        self.assertEqual(loaded.config.models["container"].cmd[3], "9004:80")
        self.assertEqual(loaded.warnings, ())
        self.assert_findings(loaded.notes, [(6, "models.named", "taking port 9002 from cmd")])

    def test_port_in_other_values(self) -> None:
        """A model that has a port may use it anywhere."""
        told = model("cmd: x ${PORT}\ncheckEndpoint: /${PORT}\nname: at ${PORT}")
        self.assertEqual((told.check_endpoint, told.name), ("/5800", "at 5800"))

    def test_no_port(self) -> None:
        """A server that nobody can find is told what to add."""
        for cmd in ("x -m y", "x --port 0", "x --port 70000"):
            self.assert_errors(one_model(f"cmd: {cmd}"), (2, "models.m", "`--port ${PORT}`"))
        lines = "cmd: x --port 1\nproxy: http://localhost:${PORT}"
        self.assert_errors(one_model(lines), (5, "models.m.proxy", "`cmd` does not"))
        lines = "cmd: x --port 1\nname: ${PORT}"
        self.assert_errors(one_model(lines), (5, "models.m.name", "whose `cmd` uses it"))

    def test_ports_run_out(self) -> None:
        """Models for which no port is left are told."""
        models = "".join(f"  m{n}: {{cmd: 'x ${{PORT}}'}}\n" for n in range(3))
        self.assert_errors(f"startPort: 65534\nmodels:\n{models}", (5, "models.m2", "no port is left"))

    def test_proxies(self) -> None:
        """A proxy is a base URL."""
        for text, url in (
            ("http://localhost:80", "http://localhost:80"),
            ("https://gpu.lan/llm/", "https://gpu.lan/llm"),
            ("'http://[::1]:80'", "http://[::1]:80"),
            ("' http://a:80 '", "http://a:80"),
        ):
            self.assertEqual(model(f"cmd: x\nproxy: {text}").proxy, url)
        self.assertEqual(model("cmd: x ${PORT}\nproxy: ''").proxy, "http://localhost:5800")
        for text, part in (
            ("localhost:80", "such as http://127.0.0.1:9001"),
            ("ftp://a", "such as http://127.0.0.1:9001"),
            ("//a", "such as"),
            ("http://", "such as"),
            ("http://:80", "such as"),
            ("http://a:b", "from 1 to 65535"),
            ("http://a:0", "from 1 to 65535"),
            ("http://a:65536", "from 1 to 65535"),
            ("http://a:-1", "from 1 to 65535"),
            ("'http://a:'", "from 1 to 65535"),
            ("http://[::1", "no usable port"),
            ("http://a b", "blank"),
            ('"http://a\\n"', ""),
            ("http://ä", "ASCII"),
            ("http://a/?b", "base URL"),
            ("'http://a/#b'", "base URL"),
            ("http://u:p@a", "base URL"),
        ):
            with self.subTest(text):
                if part:
                    self.assert_errors(one_model(f"cmd: x\nproxy: {text}"), (5, "models.m.proxy", part))
                else:
                    self.assertEqual(model(f"cmd: x\nproxy: {text}").proxy, "http://a")
        text = "models:\n  'a b': {cmd: 'x ${PORT}', proxy: 'http://${MODEL_ID}:${PORT}'}\n"
        self.assert_errors(text, (2, "models.a b.proxy", "blank"))

    def test_misspelt_port(self) -> None:
        """`$PORT` in a proxy is an error with the right spelling."""
        self.assert_errors(one_model("cmd: x ${PORT}\nproxy: http://a:$PORT"), (5, "models.m.proxy", "${PORT}"))

    def test_ports_that_do_not_match(self) -> None:
        """A proxy on another port than the command's is told, unless something may map one to the other."""
        lines = "cmd: x --port {}\nproxy: http://127.0.0.1:8999"
        self.assert_warnings(one_model(lines.format(9000)), (5, "models.m.proxy", "--port 9000"))
        for cmd in ("8999", "9000 -p 8999:9000", "9000 (8999)"):
            self.assert_warnings(one_model(lines.format(cmd)))
        self.assert_warnings(one_model("cmd: x --port 9000\nproxy: http://gpu:8999"))
        self.assert_warnings(
            one_model("cmd: x --port 9000\nproxy: http://localhost"), (5, "models.m.proxy", "requests go to port 80,")
        )

    def test_given_port_and_a_fixed_one(self) -> None:
        """A proxy on a port of its own is told where the model is given ${PORT}: it would never become ready."""
        text = "macros: {server: 'x --port ${PORT}'}\n" + one_model("cmd: ${server}\nproxy: http://127.0.0.1:8999")
        expected = "requests go to port 8999, but the model is given ${PORT}; write ${PORT} here as well"
        self.assert_warnings(text, (6, "models.m.proxy", expected))
        self.assertEqual(load(text).config.models["m"].proxy, "http://127.0.0.1:8999")
        for lines in ("cmd: podman run -p ${PORT}:8000 x", "env: ['LLAMA_ARG_PORT=${PORT}']\ncmd: x"):
            text = one_model(f"proxy: http://localhost:8999\n{lines}")
            self.assert_warnings(text, (4, "models.m.proxy", "is given ${PORT}"))

    def test_given_port_and_one_that_may_lead_to_it(self) -> None:
        """Whoever knows both ports, or listens elsewhere, may be right."""
        for lines in (
            "cmd: x --port ${PORT}\nproxy: http://127.0.0.1:${PORT}/v",
            "cmd: tunnel 8999:${PORT}\nproxy: http://127.0.0.1:8999",
            "cmd: x ${PORT}\nenv: [FRONT=8999]\nproxy: http://127.0.0.1:8999",
            "cmd: x ${PORT}\nproxy: http://gpu:8999",
        ):
            self.assert_warnings(one_model(lines))


class NameTests(FindingsTestCase):
    """What models are called."""

    def test_bad_names(self) -> None:
        """Names that could not stand in a log line are refused."""
        for name in ('""', '" "', '"a\\nb"', '"a\\x1b[31m"', '"\\x7f"'):
            [problem] = errors(f"models:\n  {name}: {{cmd: x --port 1}}\n")
            self.assertEqual(problem.line, 2)
            self.assertIn("control characters", problem.message)

    def test_every_address_of_this_machine(self) -> None:
        """The names of this machine are one host, also the address that means all of its own to who listens."""
        for host in ("localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]"):
            read = model(f"cmd: x\nproxy: http://{host}:9001")
            self.assertEqual((read.address, read.is_local), (("127.0.0.1", 9001), True), host)

    def test_other_addresses_of_this_machine(self) -> None:
        """Each of them has ports of its own; names that only look alike are elsewhere."""
        there = {"127.0.0.2": True, "127.255.0.1": True, "127.0.0.2.example": False, "gpu": False}
        for host, is_local in there.items():
            read = model(f"cmd: x\nproxy: http://{host}:9001")
            self.assertEqual((read.address, read.is_local), ((host, 9001), is_local))

    def test_models_without_settings(self) -> None:
        """A model is a mapping."""
        for value, part in (("x", "not 'x'"), ("[a]", "not a list")):
            self.assert_errors(f"models:\n  m: {value}\n", (2, "models.m", part))
        text = "models:\n  a:\n  b: {cmd: x --port 1}\n"
        self.assert_warnings(text, (2, "models.a", "says nothing, and is left out"))

    def test_nothing_refers_to_what_is_left_out(self) -> None:
        """The name of a model that says nothing is unknown to the rest of the file, and free for an alias."""
        text = "models:\n  a:\n  b: {cmd: x --port 1, aliases: [c]}\n  c:\n"
        rest = "groups: {g: {members: [a, b]}}\nhooks: {on_startup: {preload: [a, c]}}\n"
        self.assertEqual(load(text + rest).config.preload, ("b",))
        self.assert_warnings(
            text + rest,
            (2, "models.a", "says nothing"),
            (4, "models.c", "says nothing"),
            (5, "groups.g.members[0]", "no model or alias 'a'"),
            (6, "hooks.on_startup.preload[0]", "no model or alias 'a'"),
        )
        self.assert_errors(f"{text}profiles: {{p: [a]}}\n", (5, "profiles.p[0]", "no model or alias 'a'"))
        self.assertEqual(list(load(text).config.models), ["b"])

    def test_keys_among_models(self) -> None:
        """Keys that are not indented far enough are told as that, and judged as those of the model above."""
        told = "looks like a key of the model above; indent it, so that it belongs to 'a'"
        text = "models:\n  a:\n  cmd: x --port 1\n  b: {cmd: x --port 2}\nprofiles: {p: [a, b]}\n"
        self.assert_errors(text, (3, "models.cmd", told))
        text = "models:\n  a:\n    proxy: http://x\n  cmd: x\n  aliases: [y]\n  ttl: soon\n  macros: {z: 1}\n"
        self.assert_errors(
            text,
            (4, "models.cmd", told),
            (5, "models.aliases", told),
            (6, "models.ttl", told),
            (6, "models.ttl", "whole number"),
            (7, "models.macros", told),
        )
        text = "models:\n  ttl: 5\n  a: [x]\n  cmd: x\n"
        above = "write the model's name above it"
        self.assert_errors(text, (2, "models.ttl", above), (3, "models.a", "not a list"), (4, "models.cmd", told))

    def test_models_named_like_keys(self) -> None:
        """A model may have the name of a key."""
        text = "models:\n  a: {cmd: x --port 1}\n  name: {cmd: x --port 2}\n  env: {cmd: '', proxy: http://x}\n  ttl:\n"
        self.assertEqual(list(load(text).config.models), ["a", "name", "env"])

    def test_aliases(self) -> None:
        """A name means one model; its own name as an alias is only needless."""
        text = "models:\n  a: {cmd: x --port 1, aliases: [%s]}\n  b: {cmd: x --port 2, aliases: [%s]}\n"
        self.assert_errors(text % ("n", "m, n"), (3, "models.b.aliases[1]", "'n' already names the model 'a'"))
        self.assert_errors(text % ("n, n", ""), (2, "models.a.aliases[1]", "'n' already names the model 'a'"))
        self.assert_warnings(text % ("b", ""), (2, "models.a.aliases[0]", "'b' is the name of another model"))
        self.assert_errors(text % ("''", "b, '', n, n"), (3, "models.b.aliases[3]", "'n' already names the model 'b'"))
        self.assert_warnings(text % ("a", ""), (2, "models.a.aliases[0]", "needs no alias"))
