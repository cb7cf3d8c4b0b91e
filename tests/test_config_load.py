"""Whole files: where they come from, what may be wrong with them, and what they come to."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_swap.config import keys
from llama_swap.config.load import load_config
from llama_swap.config.model import Config, ModelConfig
from llama_swap.config.show import render_effective
from llama_swap.errors import ConfigError
from tests.support_config import FindingsTestCase, errors, load, model

REFERENCE = Path(__file__).parent / "data" / "reference-config.yaml"
MODEL = "models: {m: {cmd: x --port 1}}\n"


class FileTests(FindingsTestCase):
    """From a path."""

    def written(self, content: bytes) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def assert_refused(self, path: str, part: str) -> None:
        """Check that the file is refused with one problem, and that the message names it."""
        error = self.assertRaises(ConfigError, load_config, path, environ={})
        self.assertEqual(error.filename, path)
        [problem] = error.problems
        self.assertIn(part, problem.message)
        self.assertTrue(str(error).startswith(path))

    def test_good_file(self) -> None:
        """A file is read, with the environment that was given."""
        path = self.written(b"models: {m: {cmd: '${env.SERVER} --port 1'}}")
        self.assertEqual(load_config(path, environ={"SERVER": "x"}).config.models["m"].cmd, ("x", "--port", "1"))

    def test_no_file(self) -> None:
        """What cannot be opened is told with the reason."""
        self.assert_refused("/no/such/file.yaml", "No such file")
        self.assert_refused("/", "Is a directory; give it with --config-dir")
        self.assert_refused("nul\0.yaml", "cannot be read")
        path = self.written(b"")
        Path(path).chmod(0)
        if not os.access(path, os.R_OK):  # root may read anything
            self.assert_refused(path, "Permission denied")

    def test_content(self) -> None:
        """Empty, large and binary files are refused with a reason."""
        self.assert_refused(self.written(b""), "empty")
        self.assert_refused("/dev/zero", "larger than 1024 KiB")
        self.assert_refused(self.written(b"# a comment\n" * 100_000), "larger than 1024 KiB")
        self.assert_refused(self.written("models: größe".encode("latin-1")), "UTF-8")
        self.assert_refused(self.written(MODEL.encode("utf-16")), "UTF-8")


class DocumentTests(FindingsTestCase):
    """What the file is, as a whole."""

    def test_not_a_mapping(self) -> None:
        """Anything but a mapping with models is refused."""
        for text in ("", "# nothing\n", "---\n", "~", "{}", "[]", "\n\n"):
            self.assert_errors(text, (None, "", "empty"))
        self.assert_errors("\n- a\n", (2, "", "not a list"))
        self.assert_errors("just text", (1, "", "not 'just text'"))

    def test_no_models(self) -> None:
        """Models may be missing if there are peers, or, with a warning, for the time being."""
        self.assert_errors("logRequests: true\n", (1, "", "`models` is missing"))
        self.assertEqual(load("peers: {p: {proxy: http://p, models: [a]}}\n").config.models, {})
        for value in ("", "~", "{}"):
            self.assert_warnings(f"logRequests: true\nmodels: {value}\n", (2, "models", "no models"))
        beside = "models:\nqwen:\n  cmd: x\n"
        self.assert_warnings(beside, (1, "models", "indent 'qwen', so that it belongs"), (2, "qwen", "unknown key"))
        self.assert_errors("models: [a]\n", (1, "models", "not a list"))
        self.assert_errors("models: a\n", (1, "models", "not 'a'"))

    def test_encoding_error_has_a_line(self) -> None:
        """A byte that is no UTF-8 is told with its line; so is text that cannot be encoded."""
        self.assert_errors(b"a: 1\nb: \xff\n", (2, "", "UTF-8"))
        self.assert_errors("a: 1\nb: \udcff\n", (2, "", "UTF-8"))

    def test_everything_at_once(self) -> None:
        """All problems of a file are told in one go, in the order of the file."""
        text = """\
healthCheckTimeout: soon
logRequests: 7
models:
  a:
    cmd: server ${nothing}
    proxy: ftp://somewhere
    ttl: -2
  b:
    ttl: 5m
  a: {}
  c: text
  d:
    cmd: "echo 'open"
    env: {A: 1}
    aliases: [x, a]
  e:
    cmd: e --port 1
    aliases: [x]
profiles:
  p: [nobody, x, c]
"""
        self.assert_errors(
            text,
            (1, "healthCheckTimeout", "whole number of seconds"),
            (2, "logRequests", "true or false"),
            (5, "models.a.cmd", "${nothing}"),
            (6, "models.a.proxy", "http://"),
            (7, "models.a.ttl", "from -1"),
            (8, "models.b", "`cmd`"),
            (9, "models.b.ttl", "write 300"),
            (10, "models.a", "line 4"),
            (11, "models.c", "mapping"),
            (13, "models.d.cmd", "never closed"),
            (14, "models.d.env", "NAME=value"),
            (18, "models.e.aliases[0]", "'d'"),
            (20, "profiles.p[0]", "'nobody'"),
        )

    def test_error_names_file_line_and_path(self) -> None:
        """The message of the error is one line for each problem, as editors understand them."""
        error = self.assertRaises(ConfigError, load, f"{MODEL}logRequests: 7\nmaxWait: x\n")
        lines = str(error).splitlines()
        self.assertEqual(lines[0], "config.yaml:2: logRequests: must be true or false, not '7'")
        self.assertTrue(lines[1].startswith("config.yaml:3: maxWait: "), lines)

    def test_errors_end_somewhere(self) -> None:
        """A file that is all errors is given up after some hundreds."""
        found = errors(f"{MODEL}profiles: {{p: [{', '.join(f'a{n}' for n in range(2000))}]}}")
        self.assertEqual(len(found), 501)
        self.assertIn("too many", found[-1].message)


class ValueTests(FindingsTestCase):
    """What a good file comes to."""

    def test_defaults(self) -> None:
        """The shortest file has the documented defaults."""
        config = load("models:\n  m:\n    cmd: server --port ${PORT}\n").config
        expected = ModelConfig(id="m", cmd=("server", "--port", "5800"), proxy="http://localhost:5800")
        self.assertEqual(config, Config(models={"m": expected}))
        self.assertEqual((config.health_check_timeout, config.max_wait), (120, 10.0))
        self.assertEqual(config.max_request_body, 256 * 1024 * 1024)
        self.assertEqual((expected.check_endpoint, expected.ttl, expected.unload_timeout), ("/health", 0, 10))

    def test_nulls(self) -> None:
        """A key whose value is null is as good as absent; so is a section without content."""
        command = "cmd: server --port ${PORT}"
        shortest = load(f"models:\n  m:\n    {command}\n")
        for null in ("", "~", "null"):
            top = "".join(f"{key.name}: {null}\n" for key in keys.TOP if key.name != "models")
            inside = "".join(f"    {key.name}: {null}\n" for key in keys.MODEL if key.name != "cmd")
            self.assertEqual(load(f"{top}models:\n  m:\n    {command}\n{inside}"), shortest)
        top = "profiles: {}\nmacros: {}\nhooks: {}\npeers: {}\napiKeys: []\ngroups: {}\n"
        inside = "    aliases: []\n    env: []\n    macros: {}\n    metadata: {}\n"
        self.assertEqual(load(f"{top}models:\n  m:\n    {command}\n{inside}"), shortest)

    def test_names_as_typed(self) -> None:
        """Models, aliases and members of profiles are called what was typed."""
        names = ("3.10", "no", "1e3", "12:30", "~", "null", "0x1F", "1_000", "010", "2026-01-02", "off", "a/b:c d", "=")
        models = "".join(f"  {name}:\n    cmd: x --port {port}\n" for port, name in enumerate(names, 1))
        config = load(f"models:\n{models}profiles:\n  no: [{', '.join(names)}]\n").config
        self.assertEqual(tuple(config.models), names)
        self.assertEqual(config.profiles, {"no": names})
        for name in names:
            told = model(f"cmd: x --port 1\naliases: [{name}]\nuseModelName: {name}\n")
            null = name in {"~", "null"}
            self.assertEqual((told.aliases, told.use_model_name), ((name,), None if null else name))

    def test_top_level_values(self) -> None:
        """Each key of the top level arrives where it belongs."""
        text = "healthCheckTimeout: 60\nlogRequests: yes\nlisten: :9090\nmaxWait: 2.5\nmaxRequestBody: 1MiB\n"
        text += "globalTTL: 30\nunloadTimeout: 3\nstartPort: 7000\n"
        config = load(f"{text}models:\n  m:\n    cmd: x --port ${{PORT}}\n").config
        self.assertEqual((config.health_check_timeout, config.log_requests, config.listen), (60, True, ":9090"))
        self.assertEqual((config.max_wait, config.max_request_body), (2.5, 1024 * 1024))
        only = config.models["m"]
        self.assertEqual((only.ttl, only.unload_timeout, only.proxy), (30, 3, "http://localhost:7000"))

    def test_reference_example(self) -> None:
        """The example of the README of early 2025 loads; all there is to say is that two members share a port."""
        loaded = load_config(str(REFERENCE), environ={})
        [warning] = loaded.warnings
        self.assertEqual(warning.path, "profiles.coding")
        self.assertIn("8999", warning.message)
        [note] = loaded.notes
        self.assertIn("taking port 9999 from cmd", note.message)
        self.assertEqual(note.path, "models.qwen-unlisted")
        models = loaded.config.models
        self.assertEqual(list(models), ["llama", "qwen", "qwen-unlisted"])
        self.assertEqual(models["llama"].aliases, ("gpt-4o-mini", "gpt-3.5-turbo"))
        self.assertEqual((models["llama"].check_endpoint, models["llama"].ttl), ("/custom-endpoint", 60))
        self.assertEqual(models["qwen"].env, {"CUDA_VISIBLE_DEVICES": "0"})
        self.assertEqual(models["qwen"].cmd[:3], ("llama-server", "--port", "8999"))
        self.assertEqual(models["qwen-unlisted"].proxy, "http://localhost:9999")
        self.assertEqual(loaded.config.profiles, {"coding": ("qwen", "llama")})

    def test_speed(self) -> None:
        """A thousand models, with macros, merges and unknown keys, load in a second."""
        head = "macros:\n  server: llama-server --port ${PORT}\nx-a: &a\n  env: [A=1, B=2]\n  ttl: 300\nmodels:\n"
        body = "".join(
            f"  model-{n}:\n    <<: *a\n    tags: [a, b]\n    aliases: [a-{n}, b-{n}]\n    name: Model {n}\n"
            f"    cmd: |\n      ${{server}} -m /models/{n}.gguf \\\n      --kwargs '{{\"thinking\":false}}'\n"
            for n in range(1000)
        )
        begin = time.process_time()
        self.assertEqual(len(load(head + body).config.models), 1000)
        self.assertLess(time.process_time() - begin, 1)


_EXAMPLES = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
_VOCABULARY = """
    models profiles macros cmd proxy aliases env ttl listen a b ${PORT} ${a} ${env.A} http://localhost:1 x=y 1 -1
    <<: &a *a - : [ ] { } ' " | > # ! !!str ~ null , \\ % @
"""
_WORDS = st.sampled_from([*_VOCABULARY.split(), "\n", "\n\n", "\n  ", "\t"])
_KEYS = st.sampled_from([key.name for key in keys.MODEL])
_TOPS = st.sampled_from([key.name for key in keys.TOP if key.name != "models"])
_NAMES = st.text(max_size=5)
_LINES = (Path(__file__).parents[1] / "config.example.yaml").read_text(encoding="utf-8").splitlines()
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _NAMES, _WORDS)
_VALUES = st.recursive(
    _SCALARS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_NAMES, values, max_size=3),
    max_leaves=4,
)


class JunkTests(FindingsTestCase):
    """Whatever the text is, it loads or is refused; nothing else happens."""

    def refused_or_loaded(self, text: str | bytes) -> None:
        """Check that only a ConfigError with problems can come out."""
        try:
            load(text, A="1")
        except ConfigError as error:
            self.assertTrue(error.problems)
            self.assertTrue(str(error))

    @_EXAMPLES
    @given(st.one_of(st.text(), st.binary()))
    def test_any_text(self, text: str | bytes) -> None:
        """Any characters and any bytes."""
        self.refused_or_loaded(text)

    @_EXAMPLES
    @given(st.lists(_WORDS).map(" ".join))
    def test_any_words(self, text: str) -> None:
        """The words of our files, in any order."""
        self.refused_or_loaded(text)

    @_EXAMPLES
    @given(st.data())
    def test_any_values(self, data: st.DataObject) -> None:
        """Our keys with values of any type."""
        tops, models, inside = (
            data.draw(st.dictionaries(keys, _VALUES, max_size=4)) for keys in (_TOPS, _NAMES, _KEYS)
        )
        self.refused_or_loaded(_as_yaml({**tops, "models": {**models, "m": inside}}))

    @_EXAMPLES
    @given(st.sampled_from(range(len(_LINES))), _WORDS | _NAMES)
    def test_changed_example(self, at: int, value: str) -> None:
        """One line of the example has another value, or none; what is shown of such a file says the same."""
        key, colon, _ = _LINES[at].partition(":")
        text = "\n".join([*_LINES[:at], f"{key}{colon} {value}", *_LINES[at + 1 :]])
        self.refused_or_loaded(text)
        if not errors(text, A="1"):
            config = load(text, A="1").config
            self.assertEqual(load(render_effective(config)).config, config)


def _as_yaml(value: object) -> str:
    """Return a value as YAML on one line; JSON would do, were it not for infinities."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_as_yaml(key)}: {_as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_as_yaml(item) for item in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value)
