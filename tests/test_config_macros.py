"""Macros: in which values, in which order, and what is said about those that do not exist."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, errors, load, model

SERVER = "cmd: x --port 1"


class ExpansionTests(FindingsTestCase):
    """What becomes of a macro that exists."""

    def test_before_typing(self) -> None:
        """A macro may be a number, a flag, a null or a part of a text: what it stands for is read in its place."""
        text = """\
macros: {idle: 300, yes: true, empty: ~, quoted: 'null', wait: 60, part: el}
healthCheckTimeout: ${wait}
models:
  m:
    cmd: x --port 1
    ttl: ${idle}
    unlisted: ${yes}
    useModelName: ${empty}
    name: ${quoted}
    description: mod${part} of ${idle}
    aliases: ['${part}', '${MODEL_ID}-2']
    env: ['A=${idle} ${MODEL_ID}']
    checkEndpoint: /${part}
    proxy: http://${part}:${idle}
"""
        config = load(text).config
        self.assertEqual(config.health_check_timeout, 60)
        m = config.models["m"]
        self.assertEqual((m.ttl, m.unlisted, m.use_model_name, m.name), (300, True, None, "null"))
        self.assertEqual((m.description, m.aliases), ("model of 300", ("el", "m-2")))
        self.assertEqual((m.env, m.check_endpoint, m.proxy), ({"A": "300 m"}, "/el", "http://el:300"))

    def test_spelling(self) -> None:
        """Whole numbers and flags are given to commands in the spelling that they all know; the rest is as typed."""
        macros = "{a: 131_072, b: 0x10, c: True, d: FALSE, e: 3.10, f: 010, g: yes, h: '1_0', i: 1.0}"
        words = " ".join(f"${{{name}}}" for name in "abcdefghi")
        text = f"macros: {macros}\nmodels:\n  m:\n    {SERVER} {words}\n    metadata: {{a: '${{a}}', h: '${{h}}'}}\n"
        told = load(text).config.models["m"]
        self.assertEqual(told.cmd[3:], ("131072", "16", "true", "false", "3.10", "010", "yes", "1_0", "1.0"))
        self.assertEqual(told.metadata, {"a": 131072, "h": "1_0"})

    def test_types(self) -> None:
        """A macro alone keeps its type, in quotes or not; with anything beside it, and as a name, it is text."""
        text = """\
macros: {major: 3, minor: 10, version: "${major}.${minor}"}
models:
  "3.10":
    cmd: x --port ${PORT}
    metadata:
      one: ${minor}
      two: "${minor}"
      both: ${major}.${minor}
      macro: ${version}
      id: ${MODEL_ID}
      port: "${PORT}"
      dash: -${PORT}
"""
        [told] = load(text).config.models.values()
        expected = {"one": 10, "two": 10, "both": "3.10", "macro": "3.10", "id": "3.10", "port": 5800, "dash": "-5800"}
        self.assertEqual(told.metadata, expected)

    def test_order(self) -> None:
        """A macro may use those above it, the environment, and what each model is given."""
        text = """\
macros:
  dir: ${env.HOME}/models
  file: ${dir}/${MODEL_ID}.gguf
  server: llama-server --port ${PORT} -m ${file}
models:
  a: {cmd: '${server}'}
  b: {cmd: '${server} -c 1'}
"""
        models = load(text, HOME="/home/me").config.models
        self.assertEqual(models["a"].cmd, ("llama-server", "--port", "5800", "-m", "/home/me/models/a.gguf"))
        self.assertEqual(models["b"].cmd[2:], ("5801", "-m", "/home/me/models/b.gguf", "-c", "1"))

    def test_model_macros_win(self) -> None:
        """A model's macro wins over the global one, also within global macros; others see the global one."""
        text = """\
macros:
  ctx: 1
  args: -c ${ctx}
models:
  a: {cmd: 'x --port 1 ${args} ${own}', macros: {ctx: 2, own: 'o-${ctx}'}}
  b: {cmd: 'x --port 1 ${args}'}
"""
        models = load(text).config.models
        self.assertEqual(models["a"].cmd[3:], ("-c", "2", "o-2"))
        self.assertEqual(models["b"].cmd[3:], ("-c", "1"))

    def test_comments(self) -> None:
        """Macros and variables in comment lines of a command need not exist."""
        self.assertEqual(model(f"{SERVER}\nmacros:\n  a: 1").cmd, ("x", "--port", "1"))
        told = model("cmd: |\n  x\n  # ${nothing} ${env.NOTHING} $PORT\n  --port 1")
        self.assertEqual(told.cmd, ("x", "--port", "1"))

    def test_what_is_no_macro(self) -> None:
        """`$name` and `${name:-default}` are left to whoever reads them."""
        cmd = model("cmd: bash -c 'exec x --port 1 $HOME ${HOME:-/root} ${} $(id)'").cmd
        self.assertEqual(cmd[2], "exec x --port 1 $HOME ${HOME:-/root} ${} $(id)")

    def test_no_injection(self) -> None:
        """What a macro brings in is not expanded again, and no shell ever sees it."""
        text = "models:\n  'x; touch ${PID} $(id)':\n    cmd: server --port 1 '${MODEL_ID}'\n"
        [only] = load(text).config.models.values()
        self.assertEqual(only.cmd, ("server", "--port", "1", "x; touch ${PID} $(id)"))


class ErrorTests(FindingsTestCase):
    """What is said about macros that cannot be replaced."""

    def test_unknown(self) -> None:
        """An unknown macro is named, with what it may have been meant to be."""
        head = "macros: {context: 1}\nmodels:\n  m:\n    cmd: x --port ${PORT} "
        for macro, part in (
            ("HOME", "${env.HOME}"),
            ("contxt", "did you mean ${context}?"),
            ("port", "did you mean ${PORT}?"),
            ("MODEL", "did you mean ${MODEL_ID}?"),
            ("PID", "only in `cmdStop`"),
        ):
            self.assert_errors(f"{head}${{{macro}}}\n", (4, "models.m.cmd", f"${{{macro}}}"))
            self.assert_errors(f"{head}${{{macro}}}\n", (4, "models.m.cmd", part))

    def test_broken_definition(self) -> None:
        """A macro that is wrong where it is defined is told there, and not as unknown where it is used."""
        for written, part in (("[1]", "not a list"), ("{b: c}", "not a list"), ("${a} x", "refers to itself")):
            text = f"macros:\n  a: {written}\nmodels:\n  m: {{cmd: 'x --port 1', ttl: '${{a}}', name: '${{a}}'}}\n"
            self.assert_errors(text, (2, "macros.a", part))
        listed = "macros:\n  - a: 1\n  - b\nmodels:\n  m: {cmd: 'x --port 1 ${a}'}\n"
        self.assert_errors(listed, (1, "macros", "must be a mapping of names to values, not a list"))
        own = f"macros: {{a: [1]}}\nmodels:\n  m:\n    {SERVER} ${{a}}\n    macros: {{a: 2}}\n    ttl: ${{a}}\n"
        self.assert_errors(own, (1, "macros.a", "not a list"))

    def test_everywhere(self) -> None:
        """Unknown macros are told in every value, one for each place; not in keys that are ignored."""
        text = "listen: ${a}:1\nmodels:\n  m:\n    cmd: x --port 1\n    ttl: ${b}\n    useModelName: ${c}\n"
        text += "    metadata: {a: '${d}'}\n    cmdStop: stop ${PID} ${e}\nprofiles: {p: ['${f}']}\n"
        self.assert_errors(
            text,
            (1, "listen", "${a}"),
            (5, "models.m.ttl", "${b}"),
            (6, "models.m.useModelName", "${c}"),
            (7, "models.m.metadata.a", "${d}"),
            (8, "models.m.cmdStop", "${e}"),
            (9, "profiles.p[0]", "${f}"),
            (9, "profiles.p[0]", "no model"),
        )

    def test_told_once(self) -> None:
        """A value that has what does not exist is not judged any further; what else is wrong with a command is told."""
        for line, missing in (
            ("cmd: x ${PROT}", "did you mean ${PORT}?"),
            ("cmd: x --port ${env.NOT_SET}", "is not set"),
            ("cmd: x --port ${port}", "${env.NOT_SET}"),
            ("{cmd: x --port 1, proxy: 'http://localhost:${PROT}'}", "did you mean ${PORT}?"),
            ("{cmd: x --port 1, checkEndpoint: '${path}'}", "unknown macro"),
            ("{cmd: x --port 1, unlisted: '${env.NOT_SET}'}", "is not set"),
            ("{cmd: x --port 1, capabilities: {context: '${context}'}}", "unknown macro"),
        ):
            macros = "macros: {port: '${env.NOT_SET}'}\n" if "${port}" in line else ""
            [problem] = errors(f"{macros}models:\n  m:\n    {line}\n")
            self.assertIn(missing, problem.message)
        text = "models:\n  m:\n    cmd: x ${nothing} 'y\n    env: A=${nothing}\n"
        self.assert_errors(
            text,
            (3, "models.m.cmd", "unknown macro ${nothing}"),
            (3, "models.m.cmd", "the quote ' is never closed"),
        )

    def test_passed_on(self) -> None:
        """A variable may hold `${NAME}` for somebody else, as in the original program."""
        text = f"models:\n  m:\n    {SERVER}\n    env: ['A=/x:${{PATH}}', 'B=${{MODEL_ID}} ${{PID}}']\n"
        self.assertEqual(load(text).config.models["m"].env, {"A": "/x:${PATH}", "B": "m ${PID}"})
        self.assert_warnings(
            text,
            (4, "models.m.env[0]", "unknown macro ${PATH}; "),
            (4, "models.m.env[1]", "${PID} exists only in `cmdStop`. It is passed on as it is"),
        )

    def test_only_in_models(self) -> None:
        """What models are given does not exist at the top level."""
        text = f"listen: ':${{PORT}}'\nmodels:\n  m:\n    {SERVER}\n"
        self.assert_errors(text, (1, "listen", "only inside a model"))

    def test_order(self) -> None:
        """A macro that uses one further down is told what to do; so is one that uses itself."""
        text = "macros:\n  a: ${b}\n  b: 1\n  c: ${c}\nmodels:\n  m:\n    cmd: x --port 1 ${a}\n"
        self.assert_errors(text, (4, "macros.c", "itself"), (7, "models.m.cmd", "${b} is defined further down"))

    def test_definitions(self) -> None:
        """Names and values that cannot be macros are told."""
        names = ("a.b", "a b", "a" * 64, "ä")
        for name in names:
            self.assert_errors(f"macros:\n  {name}: 1\nmodels:\n  m:\n    {SERVER}\n", (2, f"macros.{name}", "63"))
        for name in ("PORT", "PID", "MODEL_ID"):
            self.assert_errors(
                f"macros:\n  {name}: 1\nmodels:\n  m:\n    {SERVER}\n", (2, f"macros.{name}", "reserved")
            )
        self.assert_errors(f"macros:\n  a: [1]\nmodels:\n  m:\n    {SERVER}\n", (2, "macros.a", "not a list"))
        self.assert_errors(f"macros: [a]\nmodels:\n  m:\n    {SERVER}\n", (1, "macros", "mapping"))
        text = f"models:\n  m:\n    {SERVER}\n    macros:\n      PORT: 1\n"
        self.assert_errors(text, (5, "models.m.macros.PORT", "reserved"))
