"""Commands: from text to arguments, without a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_swap.config.command import port_option, split
from tests.support_config import FindingsTestCase, load, model, one_model


class SplitTests(FindingsTestCase):
    """Comments, then continued lines, then words."""

    def test_words(self) -> None:
        """Words are split as a POSIX shell does, and nothing in them is expanded."""
        for text, words in (
            ("a b\tc\n d\r\n", ["a", "b", "c", "d"]),
            ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
            ("""a '{"thinking":false}' --gpus '"device=0"'""", ["a", '{"thinking":false}', "--gpus", '"device=0"']),
            ("""a "\\"b\\" \\c" '' b""", ["a", '"b" \\c', "", "b"]),
            ("a $HOME *.gguf ~ | > & ; `id` $(id)", ["a", "$HOME", "*.gguf", "~", "|", ">", "&", ";", "`id`", "$(id)"]),
            ("a b#c #d", ["a", "b#c", "#d"]),
            ("""sh -c "x \\$A \\`b\\` \\n" '\\$c'""", ["sh", "-c", "x $A `b` \\n", "\\$c"]),
            ("a\u00a0b\x0bc", ["a\u00a0b\x0bc"]),
            ("", []),
        ):
            self.assertEqual(split(text), words, text)

    def test_comments(self) -> None:
        """A line that begins with `#`, after blanks, is left out; also between quotes and continued lines."""
        for text in ("a\n# b\nc", "a\n  # it's b\nc", "a \\\n# b\n  c", "#!\na c\n#", "a c\n\t#"):
            self.assertEqual(split(text), ["a", "c"], text)
        self.assertEqual(split("bash -c 'a\n# b\nc'"), ["bash", "-c", "a\nc"])

    def test_continued_lines(self) -> None:
        """A backslash at the end of a line, or of everything, is a blank."""
        for text in ("a \\\nc", "a\\\nc", "a \\\n  c \\\n", "a c \\", "a \\\n \\\n c"):
            self.assertEqual(split(text), ["a", "c"], text)
        for text in ("a \\  \nc \\\t", "a \\ \n \\ \n c"):  # as far as can be seen
            self.assertEqual(split(text), ["a", "c"], text)
        self.assertEqual(split("a \\\\"), ["a", "\\"])

    @settings(max_examples=100, deadline=None, database=None)
    @given(st.text(alphabet="ab -=\t\n$%#/.é\u00a0'\""))
    def test_reference(self, text: str) -> None:
        """Without backslashes, which it knows less of than POSIX, shlex splits in the same way."""
        text = f"x {text}".replace("\n", " ")
        try:
            words = shlex.split(text)
        except ValueError:
            self.assertRaises(ValueError, split, text)
        else:
            self.assertEqual(split(text), words)

    @settings(max_examples=100, deadline=None, database=None)
    @given(st.lists(st.text().filter(lambda word: "\n" not in word), min_size=1))
    def test_round_trip(self, words: list[str]) -> None:
        """Arguments that were quoted for a shell come back as they were."""
        self.assertEqual(split(f"x {shlex.join(words)}")[1:], words)


class CommandTests(FindingsTestCase):
    """`cmd` of a model."""

    def test_blocks(self) -> None:
        """All of YAML's ways to write text are fine, with and without a comment after the indicator."""
        for lines in (
            "cmd: x --port 1 -m y",
            "cmd: 'x --port 1 -m y'",
            "cmd:\n  x --port 1\n  -m y",
            "cmd: |\n  x --port 1\n  -m y",
            "cmd: | # the server\n  x --port 1 \\\n  -m y",
            "cmd: >\n  x --port 1\n  -m y",
            "cmd: >-\n  x\n  --port 1\n\n  -m y",
        ):
            self.assertEqual(model(lines).cmd, ("x", "--port", "1", "-m", "y"), lines)

    def test_unclosed_quotes(self) -> None:
        """An unclosed quote is told with the line where it was opened, as far as YAML lets us know it."""
        for lines, line in (
            ("cmd: x --port 1 'open", 4),
            ("cmd: |\n  x --port 1\n  # don't count this\n  -m 'a b' 'open\n  -c 1\n  # nor that's", 7),
            ('cmd: |\n  x "a \\" b\n  c', 5),
            ("ttl: 1\ncmd: >\n  x --port 1\n  'open\n", 5),
        ):
            self.assert_errors(one_model(lines + "\nproxy: http://a"), (line, "models.m.cmd", "never closed"))
        text = 'macros: {a: "it\'s"}\nmodels:\n  m:\n    cmd: x --port 1 ${a}\n    proxy: http://a\n'
        self.assert_errors(text, (4, "models.m.cmd", "with its macros expanded"))

    def test_no_command(self) -> None:
        """A command without a word is told, wherever the words went; with an address, other models can be used."""
        for value in ('""', "''", "", "~", '"  "', "|\n  # x\n  # y"):
            text = one_model(f"cmd: {value}\nproxy: http://a")
            self.assert_warnings(text, (4, "models.m.cmd", "is empty; write what starts the model's server. Requests"))
            self.assertEqual(load(text).config.models["m"].cmd, ())
            self.assert_errors(one_model(f"cmd: {value}"), (4, "models.m.cmd", "is empty"))
        self.assert_errors(one_model("cmd: '\"\" x'\nproxy: http://a"), (4, "models.m.cmd", "empty word"))
        self.assert_errors(one_model('cmd: "x\\0"\nproxy: http://a'), (4, "models.m.cmd", "NUL"))

    def test_nothing_to_continue(self) -> None:
        """A `\\` alone would join two lines, and is no word."""
        self.assert_errors(one_model("cmd: \\\nproxy: http://a"), (4, "models.m.cmd", "nothing but a \\"))
        self.assert_errors(one_model("cmd: x --port 1\ncmdStop: '\\ '"), (5, "models.m.cmdStop", "nothing but a \\"))

    def test_comment_in_folded_block(self) -> None:
        """YAML joins the lines of a block with `>`, so that a comment at its beginning is all there is."""
        told = "is a comment from beginning to end; write the command without the #"
        for lines in ("cmd: >\n  # all of it\n  x --port 1", "cmd: '# only a comment'"):
            self.assert_errors(one_model(lines), (4, "models.m.cmd", told))

    def test_wrong_type(self) -> None:
        """A list, as other programs have it, is told what to write; a missing command what was meant."""
        self.assert_errors(one_model("cmd: [x, --port, 1]\nproxy: http://a"), (4, "models.m.cmd", "not a list"))
        self.assert_errors(one_model("ttl: 1"), (2, "models.m", "has no `cmd`; write"))
        self.assert_errors(one_model("command: x"), (2, "models.m", "rename `command`"))
        self.assert_warnings(one_model("proxy: http://a"), (2, "models.m", "Requests for this model will fail"))

    def test_misspelt_port(self) -> None:
        """`$PORT` and `{PORT}` are passed on, with a warning."""
        for cmd in ("x --port $PORT", "'x --port {PORT}'", "x --port=$PORT"):
            self.assert_warnings(one_model(f"cmd: {cmd}\nproxy: http://a"), (4, "models.m.cmd", "${PORT}"))
        for cmd in ("x --port ${PORT}", "x a$PORTS --port 1", "bash -c 'x --port 1'"):
            self.assert_warnings(one_model(f"cmd: {cmd}"))

    def test_continued_lines_in_folded_block(self) -> None:
        """A `>` block makes `\\` quote the blank after it; the argument that comes of it is told."""
        lines = "cmd: >\n  x \\\n  --port 1\nproxy: http://a"
        self.assert_warnings(one_model(lines), (4, "models.m.cmd", "' --port' begins with a blank"))

    def test_typography(self) -> None:
        """Dashes and quotes as pages print them, and comments behind a command, are passed on, with a warning."""
        for cmd, told in (
            ("x --port 1 \u2013c 8", "'\u2013c' begins with a dash; type plain"),
            ("x --port 1 \u2014ctx 8", "begins with a dash"),
            ("x --port 1 --name \u201cx\u201d", "begins with a quote"),
            ("|\n  x --port 1 # the port\n  -c 8", "# and what follows it are arguments"),
        ):
            self.assert_warnings(one_model(f"cmd: {cmd}"), (4, "models.m.cmd", told))
        for cmd in (
            "x --port 1 --color=#fff a#b",
            "x --port 1 'a \u2013 b'",
            "|\n  x --port 1 '\u2014 b' -r '#'",
            "|\n  # x\n  x --port 1",
        ):
            self.assert_warnings(one_model(f"cmd: {cmd}"))

    def test_blanks_from_pages(self) -> None:
        """A blank that does not separate words is told; within quotes, beside plain ones, it is prose."""
        for blank in "\u00a0\u202f\u200b\ufeff":
            told = f"{f'--port{blank}1'!r} contains a blank that is no plain one"
            self.assert_warnings(one_model(f"cmd: x --port{blank}1\nproxy: http://a"), (4, "models.m.cmd", told))
        self.assert_warnings(one_model("cmd: x --port 1 --name 'what\u00a0is it'"))

    def test_secrets(self) -> None:
        """An argument that looks like a secret is not quoted in what is said about it."""
        for secret in (
            "--api-key=sk-hush\u00a01",
            "--api-key sk-hush\u00a01",
            "--api-key \u201csk-hush\u201d",
            "\\ --api-key=sk-hush",
        ):
            [warning] = load(one_model(f"cmd: x --port 1 {secret}")).warnings
            self.assertIn("the argument '", warning.message)
            self.assertNotIn("hush", warning.message)

    def test_windows_paths(self) -> None:
        """A `\\` of a path would be taken for a shell's, in plain text and blocks; in quotes it stays."""
        for cmd in (
            "C:\\llama\\server.exe --port 1",
            "|\n  x --port 1\n  -m C:\\models\\m.gguf",
            "x --port 1 -m=C:\\m",
        ):
            self.assert_warnings(one_model(f"cmd: {cmd}"), (4, "models.m.cmd", "\\, as in a shell; write / instead"))
        for cmd in ("x --port 1 -m 'C:\\m.gguf'", "x --port 1 -m C:/m.gguf", "|\n  # C:\\m\n  x --port 1"):
            self.assert_warnings(one_model(f"cmd: {cmd}"))

    def test_no_shell(self) -> None:
        """What would be a second command is an argument."""
        marker = Path(self.mktemp())
        cmd = model(f"cmd: x --port 1 ; touch {marker} && touch $(id)").cmd
        self.assertEqual(cmd[2:], ("1", ";", "touch", str(marker), "&&", "touch", "$(id)"))


class PortOptionTests(FindingsTestCase):
    """The port that a command names."""

    def test_port_option(self) -> None:
        """The last `--port` counts, as it does for servers; other options do not look like it."""
        for words, port in (
            (["x", "--port", "80"], 80),
            (["x", "--port=80"], 80),
            (["x", "--port", "80", "--port=81"], 81),
            (["bash", "-c", "exec x --port 80 -c 1"], 80),
            (["x", "--port", "a80"], None),
            (["x", "--ports", "80"], None),
            (["x", "--http-port", "80"], None),
            (["x", "-p", "80:80"], None),
            (["x", "--port"], None),
            ([], None),
        ):
            self.assertEqual(port_option(words), port, words)
