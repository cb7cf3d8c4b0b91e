"""Keys that say who may come in."""

from __future__ import annotations

from pathlib import Path

import yaml

from llama_swap.config.load import load_config
from llama_swap.config.sections import CorsConfig
from llama_swap.config.show import render_effective
from tests.support_config import FindingsTestCase, errors, load, one_model

FILE = one_model("cmd: x --port 1")


class ApiKeysTests(FindingsTestCase):
    """`apiKeys`."""

    def test_as_typed(self) -> None:
        """A key is what was typed, comes from a macro, or from the environment."""
        text = "macros: {mine: sk-1}\napiKeys: [sk-2, 0x10, no, '${mine}', '${env.KEY}']\n" + FILE
        self.assertEqual(load(text, KEY="sk-3").config.api_keys, ("sk-2", "0x10", "no", "sk-1", "sk-3"))

    def test_none(self) -> None:
        """An empty list, or none, asks nobody."""
        for value in ("[]", "", "null"):
            self.assertEqual(load(f"apiKeys: {value}\n{FILE}").config.api_keys, ())

    def test_refused(self) -> None:
        """What cannot be a key is an error that does not repeat it."""
        for value, path, part in (
            ("hush", "apiKeys", "must be a list of keys"),
            ("{hush: 1}", "apiKeys", "must be a list of keys"),
            ("[ok, '']", "apiKeys[1]", "empty api key found in apiKeys"),
            ("[~]", "apiKeys[0]", "empty api key found in apiKeys"),
            ("[hush hush]", "apiKeys[0]", "an api key cannot contain spaces"),
            ("['${env.KEY}']", "apiKeys[0]", "an api key cannot contain spaces"),
            ("[[hush]]", "apiKeys[0]", "must be a key, not a list"),
            ("['***']", "apiKeys[0]", "write the key itself"),
        ):
            self.assert_errors(f"apiKeys: {value}\n{FILE}", (1, path, part), KEY="hush\thush")
            self.assertNotIn("hush", str(errors(f"apiKeys: {value}\n{FILE}", KEY="hush\thush")))

    def test_nothing_left(self) -> None:
        """A variable or a macro that is empty does not open the door, wherever it stands."""
        for value, path, part in (
            ("${env.KEY}", "apiKeys", "nothing is left of it"),
            ("'${none}'", "apiKeys", "nothing is left of it"),
            ("['${env.KEY}']", "apiKeys[0]", "empty api key found in apiKeys"),
            ("[ok, '${env.KEY}']", "apiKeys[1]", "empty api key found in apiKeys"),
            ("[ok, ' ']", "apiKeys[1]", "an api key cannot contain spaces"),
        ):
            self.assert_errors(f"macros: {{none: null}}\napiKeys: {value}\n{FILE}", (2, path, part), KEY="")

    def test_not_shown(self) -> None:
        """Neither the effective configuration nor a value in a traceback shows a key."""
        config = load(f"apiKeys: [hush, hushhush]\n{FILE}").config
        self.assertNotIn("hush", repr(config))
        text = render_effective(config)
        self.assertNotIn("hush", text)
        self.assertEqual(yaml.safe_load(text)["apiKeys"], ["***", "***"])


class FileModeTests(FindingsTestCase):
    """Who can read the file that the keys stand in."""

    def warnings(self, text: str, mode: int) -> list[str]:
        """Return the paths of what is odd about a file with this mode."""
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(mode)
        return [problem.path for problem in load_config(str(path), environ={"KEY": "sk-1"}).warnings]

    def test_keys_for_all(self) -> None:
        """Keys that every user of the machine can read are worth a warning."""
        text = f"apiKeys: [sk-1]\n{FILE}"
        self.assertEqual(self.warnings(text, 0o644), ["apiKeys"])
        self.assertEqual(self.warnings(text, 0o640), [])

    def test_nothing_to_hide(self) -> None:
        """A file without keys, or with keys that stand elsewhere, may be read by anybody."""
        self.assertEqual(self.warnings(FILE, 0o644), [])
        self.assertEqual(self.warnings(f"apiKeys: ['${{env.KEY}}']\n{FILE}", 0o644), [])


class BrowserKeysTests(FindingsTestCase):
    """`allowedOrigins` and `allowedHosts`."""

    def test_origins(self) -> None:
        """An origin is brought to the form that browsers send."""
        given = "https://Chat.Example, 'http://x:80/', 'https://x:443', 'http://x:443', '*', app://obsidian.md, 'http://[::1]:3000'"
        config = load(f"allowedOrigins: [{given}]\n{FILE}").config
        expected = "https://chat.example http://x https://x http://x:443 * app://obsidian.md http://[::1]:3000"
        self.assertEqual(config.allowed_origins, tuple(expected.split()))

    def test_hosts(self) -> None:
        """A host is a name or an address; its port does not matter."""
        config = load(f"allowedHosts: [GPU.example, 'x:8080', fd00::1, '[fd00::2]:80', 10.0.0.1, '*']\n{FILE}").config
        self.assertEqual(config.allowed_hosts, ("gpu.example", "x", "[fd00::1]", "[fd00::2]", "10.0.0.1", "*"))

    def test_refused(self) -> None:
        """What is neither is an error that shows what it should look like."""
        for origin in ("chat.example", "'null'", "https://x/path", "'http://localhost:*'", "https://*.x", "'//x'"):
            text = f"allowedOrigins: [{origin}]\n{FILE}"
            self.assert_errors(text, (1, "allowedOrigins[0]", "the origin of a page, such as https://chat.example"))
        for host in ("https://x", "x/y", "'*.x'", "ü.example", "'x:y'"):
            text = f"allowedHosts: [{host}]\n{FILE}"
            self.assert_errors(text, (1, "allowedHosts[0]", "the name of a host, such as gpu.example"))
        self.assert_errors(f"allowedOrigins: '*'\n{FILE}", (1, "allowedOrigins", "must be a list of names"))


class CorsTests(FindingsTestCase):
    """`security.cors`."""

    def test_keys(self) -> None:
        """What is there is read, the rest has defaults; names of headers and methods are checked."""
        text = "security:\n  cors: {allowedOrigins: [HTTPS://A.example/], maxAge: 0, allowedMethods: [GET]}\n" + FILE
        self.assertEqual(
            load(text).config.security.cors,
            CorsConfig(allowed_origins=("https://a.example",), allowed_methods=("GET",)),
        )
        text = "security:\n  cors:\n    allowedHeaders: [a b]\n    allowedMethods: [get]\n    maxAge: -1\n" + FILE
        self.assert_errors(
            text,
            (3, "security.cors.allowedHeaders[0]", "must be the name of a header"),
            (4, "security.cors.allowedMethods[0]", "must be one of GET, POST"),
            (5, "security.cors.maxAge", "not -1"),
        )

    def test_all(self) -> None:
        """`*` is worth a warning, and does not go with what only those may do who are trusted."""
        text = f"security:\n  cors: {{allowedOrigins: ['*']}}\n{FILE}"
        self.assert_warnings(text, (1, "security", "every page on the web may use, stop and watch the models"))
        for name in ("allowCredentials", "allowPrivateNetwork"):
            self.assert_errors(text.replace("']", f"'], {name}: true"), (1, "security", f"if {name} is true"))
