"""YAML as a tree: names as typed, anchors and merges, places, and files that mean harm."""

from __future__ import annotations

import time
from unittest import mock

import yaml

from llama_swap.config import compose as compose_module
from llama_swap.config.compose import compose
from llama_swap.config.tree import Findings, ListNode, MapNode, Node, Scalar
from llama_swap.errors import ConfigError
from tests.support_config import FindingsTestCase, load

MODEL = "models: {m: {cmd: x --port 1}}\n"


def tree(text: str, **environ: str) -> tuple[object, Findings]:
    """Return a text's tree as lists, dictionaries and strings, and what was found."""
    found = Findings("config.yaml")
    root = compose(text, environ, found)
    return plain(root), found


def plain(node: Node | None) -> object:
    """Return a tree without its places."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return {name: plain(value) for name, value in node.entries.items()} if isinstance(node, MapNode) else None


class TextTests(FindingsTestCase):
    """What is written is what is read."""

    def test_scalars_stay_text(self) -> None:
        """No name and no value turns into a number, a date, a flag or null."""
        typed = ("3.10", "no", "1e3", "12:30", "~", "null", "0x1F", "1_000", "010", "2026-01-02", "yes", ".5", "=")
        for text in typed:
            self.assertEqual(tree(f"{text}: [{text}, {{{text}: {text}}}]")[0], {text: [text, {text: text}]})

    def test_encodings(self) -> None:
        """CRLF, a byte order mark and characters beyond the first plane are no trouble."""
        text = MODEL + "profiles:\n  😀 größe:\n  - m\n"
        for content in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
            for form in (content, content.encode()):
                self.assertEqual(load(form).config.profiles, {"😀 größe": ("m",)})

    def test_environment_as_text(self) -> None:
        """A variable is a text wherever it stands, also between brackets, and whatever is in it."""
        text = "a: [${env.X}, 'b${env.X}', \"${env.X}\\n\"]\nc: {d: ${env.X}}\n${env.X}: |\n  ${env.X}\n  # ${env.NO}\n"
        for value in ("v", "a: b, ]}", '"', "\\", "&x"):
            expected = {"a": [value, f"b{value}", f"{value}\n"], "c": {"d": value}, value: f"{value}\n# ${{env.NO}}\n"}
            self.assertEqual(tree(text, X=value)[0], expected)
        [problem] = tree("a: [${env.NO}] # ${env.NEITHER}")[1].errors
        self.assertIn("replace ${env.NO}", problem.message)
        self.assertEqual(tree("${env.NO}: 1")[1].errors[0].path, "${env.NO}")

    def test_anchors(self) -> None:
        """An alias means the last anchor of its name above it, also where the name was used before."""
        self.assertEqual(tree("a: &x 1\nb: *x\nc: &x 2\nd: *x")[0], {"a": "1", "b": "1", "c": "2", "d": "2"})
        self.assertEqual(tree("a: &x [&x 1, *x]\nb: *x")[0], {"a": ["1", "1"], "b": "1"})
        self.assertEqual(tree("&k a: 1\nb: *k\n*k : 2")[1].errors[0].path, "a")

    def test_merge_keys(self) -> None:
        """`<<` adds what is not there, the first source first; it may stand anywhere and be nested."""
        base = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\n"
        for merge, expected in (
            ("{<<: *a}", {"x": "1", "y": "2"}),
            ("{y: 0, <<: *a}", {"y": "0", "x": "1"}),
            ("{<<: *a, y: 0}", {"y": "0", "x": "1"}),
            ("{<<: [*a]}", {"x": "1", "y": "2"}),
            ("{<<: [*b, *a]}", {"y": "3", "z": "4", "x": "1"}),
            ("{<<: {w: 5, <<: *a}}", {"w": "5", "x": "1", "y": "2"}),
            ("{<<: }", {}),
            ('{"<<": 1}', {"<<": "1"}),
        ):
            root, found = tree(f"{base}c: {merge}\n")
            assert isinstance(root, dict)
            self.assertEqual((root["c"], found.errors), (expected, ()), merge)

    def test_environment(self) -> None:
        """`${env.NAME}` is replaced in keys and values, but not in comments of a block."""
        text = "${env.A}: |\n  x ${env.A}${env.B}\n   # ${env.NO}\n"
        self.assertEqual(tree(text, A="a b", B="")[0], {"a b": "x a b\n # ${env.NO}\n"})

    def test_environment_errors(self) -> None:
        """A variable that is not set, or does not fit into a line, is told once for each place."""
        text = "a: ${env.NO}\nb: ['${env.NO}']\nc: ${env.LINES}\nd: ${env.BYTES}\n"
        _, found = tree(text, LINES="a\nb", BYTES="\udcff")
        expected = [(1, "a", "NO is not set"), (2, "b[0]", "NO is not set"), (3, "c", "LINES"), (4, "d", "BYTES")]
        self.assert_findings(found.errors, expected)

    def test_second_document(self) -> None:
        """Only the first document is read, and the rest is told."""
        self.assert_warnings(f"---\n{MODEL}---\nmodels: 7\n", (2, "", "first document"))
        self.assert_warnings(f"---\n{MODEL}...\n")

    def test_layout(self) -> None:
        """A key that is indented too far, and one without a blank behind its colon, are told in their lines."""
        for text, line, told in (
            ("a:\n  b: x\n   c: 1\n", 3, "indent this key as far as the one above it"),
            ("a:\n  b: x\n     y\n   c: 1\n", 4, "indent this key as far as the one above it"),
            ("a: b: c\n", 1, "quote a value that contains ': '"),
            ("a:\n  b: c\n  d:1\n", 3, "with a blank behind the colon"),
            ("a:\n  b: c\n  d:1\n  e: 2\n", 3, "with a blank behind the colon"),
            ("a:\n  b:c\n  d: 1\n", 3, "a blank behind the colon in the line above"),
            ("a:\n  b: x\n    http://y\n   d: 1\n", 4, "indent this key as far as the one above it"),
            ("a:\n  b\n    c: 1\n", 3, "write a colon behind the name in the line above"),
            ("a\n  b:\n    c: 1\n", 2, "write a colon behind the name in the line above"),
            ("a:\n  b: |\n  x --port 1\n  c: 1\n", 3, "or indent this line, if it is part of the value above it"),
            ("a:\n  b: | x\n", 2, "begin the text of a block in the line below"),
            ("a:\n  b: 1\n\tc: 1\n", 3, "indent with spaces, not tabs"),
        ):
            self.assert_errors(text, (line, "", told))

    def test_without_libyaml(self) -> None:
        """PyYAML's own parser, where libyaml is missing, reads the same."""
        text = "a: &x [1, 'null', |\n  two\n  ]\nb: {<<: {c: *x}}\n".replace("|\n  two\n  ", "two")
        expected = tree(text)[0]
        with mock.patch.object(compose_module, "_Loader", yaml.SafeLoader):
            self.assertEqual(tree(text)[0], expected)
            self.assert_errors("a:\n  b: \x01\n", (2, "", "not valid YAML"))
            self.assert_errors("a: [b\n", (1, "", "not valid YAML"))


class PlaceTests(FindingsTestCase):
    """Every node knows its line and its key path."""

    def test_places(self) -> None:
        """Values point to the line of their key, items to their own, aliases to where they are used."""
        text = "a:\n  b:\n    - x\n    -\n      y\n  c: |\n    z\nd: &d\n  e: 1\nf: *d\ng: {<<: *d}\n"
        root = compose(text, {}, Findings("f"))
        places: list[tuple[int, str]] = []

        def visit(node: Node) -> None:
            places.append((node.line, node.path))
            children = node.items if isinstance(node, ListNode) else ()
            for child in (*children, *(node.entries.values() if isinstance(node, MapNode) else ())):
                visit(child)

        assert root is not None
        visit(root)
        self.assertEqual(
            places,
            [
                (1, ""),
                (1, "a"),
                (2, "a.b"),
                (3, "a.b[0]"),
                (5, "a.b[1]"),
                (6, "a.c"),
                (8, "d"),
                (9, "d.e"),
                (10, "f"),
                (9, "d.e"),  # where it can be mended
                (11, "g"),
                (9, "d.e"),
            ],
        )

    def test_unprintable_names(self) -> None:
        """A path is one line, whatever the names in it."""
        root = compose('"a\\nb": 1\n', {}, Findings("f"))
        assert isinstance(root, MapNode)
        self.assertEqual(root.entries["a\nb"].path, "'a\\nb'")

    def test_lines_of_blocks(self) -> None:
        """A line within a literal block has a line of the file; in folded text only the key's is known."""
        root = compose("a: |\n  x\n  y\nb: >-\n  x\n  y\n", {}, Findings("f"))
        assert isinstance(root, MapNode)
        literal, folded = root.entries["a"], root.entries["b"]
        assert isinstance(literal, Scalar)
        assert isinstance(folded, Scalar)
        self.assertEqual([literal.line_of(0), literal.line_of(1)], [2, 3])
        self.assertEqual([folded.line_of(0), folded.line_of(1)], [4, 4])


class RefusalTests(FindingsTestCase):
    """Files that cannot be read, or should not be."""

    def test_duplicate_keys(self) -> None:
        """Each key that stands twice is told, with both lines; also by another spelling, and in other places."""
        text = "models:\n  m:\n    cmd: x --port 1\n    ttl: 1\n    'ttl': 2\n  m: {}\nlogRequests: no\nmodels: {}\n"
        self.assert_errors(
            text,
            (5, "models.m.ttl", "first defined on line 4"),
            (6, "models.m", "first defined on line 2"),
            (8, "models", "first defined on line 1"),
        )
        self.assert_errors(f"x-a: &a {{b: 1}}\nx-c:\n  <<: *a\n  <<: *a\n{MODEL}", (4, "x-c.<<", "duplicate"))

    def test_broken_yaml(self) -> None:
        """What is no YAML is told with the line to look at and, where we know one, a cure."""
        for text, line, part in (
            ("models:\n  m:\n   cmd: [open\n\n", 3, "close the bracket"),
            ("models:\n  m:\n   cmd: 'open\n\n", 3, "quote"),
            ("models:\n\tm: 1\n", 2, "spaces"),
            ("models:\n  m:\n    cmd: a: b\n", 3, "`|`"),
            ("models:\n  m:\n   a: 1\n    b: 2\n", 4, ""),
            ("models:\n  m: *no\n", 2, "&no"),
            ("models:\n  m: &m [*m]\n", 2, "own &m"),
            ('models:\n  m: "C:\\q"\n', 2, "single quotes"),
            ('models:\n  m: "C:\\Users"\n', 2, "single quotes"),
            ("allowedOrigins: *\n", 1, "quote a value that begins with *"),
            ("allowedOrigins: [*]\n", 1, "quote a value that begins with *"),
            ("aliases: - a\n", 1, "begin the list below its key"),
            ("a:\n  b: ? c\n", 2, "quote a value that begins with ?"),
            ("😀:\n  m: \x01\n", 2, "control characters"),
            ("models: {m: ${no}}\n", 1, "quote values"),
            ("hooks: {on_startup:}\n", 1, "write a blank behind a colon"),
            ("models: }\n", 1, ""),
            ("%YAML 9.9\n---\n", 1, ""),
        ):
            self.assert_errors(text, (line, "", part))

    def test_half_characters(self) -> None:
        """An escape for half of a character is told, whoever reads the YAML: no key or name could be made of it."""
        text = f'apiKeys: ["\\ud800"]\n{MODEL}'
        self.assert_errors(text, (1, "", "invalid Unicode character"))
        self.patch(compose_module, "_Loader", yaml.SafeLoader)  # where there is no libyaml
        self.assert_errors(text, (1, "apiKeys[0]", "half of a character"))
        self.assert_errors(f'? "a\\udc00"\n: b\n{MODEL}', (1, "'a\\udc00'", "half of a character"))
        self.assert_errors(f'x: "\\ud83d\\ude00"\n{MODEL}', (1, "x", "write the character itself"))

    def test_complex_keys(self) -> None:
        """A list or mapping as a key, such as `{PORT}` without quotes, is told."""
        self.assert_errors(f"? [a, b]\n: c\n{MODEL}", (1, "?", "must be a name"))
        self.assert_errors(f"x-a:\n  {{PORT}}: c\n{MODEL}", (2, "x-a.?", "must be a name"))

    def test_tags(self) -> None:
        """Tags that would build objects are refused; those of plain values are fine."""
        for tag in ("!!python/object/apply:os.system", "!!python/name:os.system", "!!binary", "!own", "!!set"):
            self.assert_errors(f"x-a:\n  b: {tag} c\n{MODEL}", (2, "x-a.b", tag))
        self.assertEqual(load("models: !!map {m: {cmd: !!str x --port 1, ttl: !!int 5}}").config.models["m"].ttl, 5)

    def test_bad_merges(self) -> None:
        """Only mappings can be merged."""
        for value in ("5", "[5]", "[{a: 1}, 5]"):
            self.assert_errors(f"x-a:\n  <<: {value}\n{MODEL}", (2, "x-a.<<", "<<: *name"))

    def test_nesting(self) -> None:
        """Nesting without end is refused, whatever it is made of."""
        for text in (
            "[" * 20_000,
            "a: " + "{a: " * 20_000,
            "".join(f"{' ' * n}a:\n" for n in range(400)),
            "- " * 20_000,
        ):
            [problem] = self.quick_errors(text)
            self.assertIn("nested deeper", problem)

    def test_bombs(self) -> None:
        """A small file that grows without end by aliases or merge keys is refused at once."""
        levels = range(1, 60)
        merges = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 4)}]}}\n" for n in levels)
        lists = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in levels)
        macros = "".join(f"  m{n}: ${{m{n - 1}}}${{m{n - 1}}}\n" for n in levels)
        for text in (f"a0: &a0 {{a: 1, b: 2}}\n{merges}", f"a0: &a0 [x]\n{lists}", f"a: [{'a,' * 500_000}]"):
            [problem] = self.quick_errors(text + MODEL)
            self.assertIn("more than 100,000 values", problem)
        problems = self.quick_errors(f"macros:\n  m0: a long text\n{macros}{MODEL}")
        self.assertIn("128 KiB", problems[0])

    def quick_errors(self, text: str) -> list[str]:
        """Return what is wrong with a text, which may take two seconds at most."""
        begin = time.process_time()
        error = self.assertRaises(ConfigError, load, text)
        self.assertLess(time.process_time() - begin, 2)
        return str(error).splitlines()
