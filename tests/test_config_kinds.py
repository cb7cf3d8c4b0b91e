"""Values that are no numbers: what each kind of key takes, and what it says about the rest."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, load, model, one_model

SERVER = "cmd: x --port 1\n"


class GoodValueTests(FindingsTestCase):
    """Each kind takes what YAML and people write for it."""

    def test_flags(self) -> None:
        """YAML's words for true and false, in any case, with or without quotes."""
        for text in ("true", "True", "TRUE", "yes", "on", "y", "'true'"):
            self.assertIs(model(f"{SERVER}unlisted: {text}").unlisted, True, text)
        for text in ("false", "no", "Off", "n"):
            self.assertIs(model(f"{SERVER}unlisted: {text}").unlisted, False, text)

    def test_texts(self) -> None:
        """Any scalar is text as typed."""
        for text, value in (("3.10", "3.10"), ("no", "no"), ("'a: b'", "a: b"), ("|\n  a\n  b", "a\nb\n"), ("''", "")):
            self.assertEqual(model(f"{SERVER}description: {text}").description, value)

    def test_assignments(self) -> None:
        """The first `=` ends the name; values may be empty; the last of two counts."""
        env = model(f"{SERVER}env: [A=1, 'B=x=y', C=, 'D= a b ', \"E=a\\nb\"]").env
        self.assertEqual(env, {"A": "1", "B": "x=y", "C": "", "D": " a b ", "E": "a\nb"})
        text = one_model(f"{SERVER}env:\n- A=1\n- A=2")
        self.assertEqual(load(text).config.models["m"].env, {"A": "2"})
        self.assert_warnings(text, (7, "models.m.env[1]", "set twice"))

    def test_blanks_in_names(self) -> None:
        """What a shell would understand is set as it stands, as in the original program, with a warning."""
        for written, name in (("export A=1", "export A"), ("A = 1", "A ")):
            text = one_model(f"{SERVER}env: ['{written}']")
            self.assertIn(name, load(text).config.models["m"].env)
            self.assert_warnings(text, (5, "models.m.env[0]", f"the name {name!r} has a blank in it"))

    def test_empty_items(self) -> None:
        """What is left of a list whose items were taken out is no reason to refuse the file."""
        text = one_model(f"{SERVER}aliases:\n-\n- a\n- ''\nenv:\n-\n- A=1\n- B")
        told = load(text).config.models["m"]
        self.assertEqual((told.aliases, told.env), (("a",), {"A": "1"}))
        self.assert_warnings(
            text,
            (6, "models.m.aliases[0]", "left out"),
            (8, "models.m.aliases[2]", "left out"),
            (10, "models.m.env[0]", "sets nothing"),
            (12, "models.m.env[2]", "sets nothing: write `NAME=value`, not 'B'"),
        )

    def test_check_paths(self) -> None:
        """A path, or none in any case."""
        for text, path in (
            ("/", "/"),
            ("/v1/models?x=1", "/v1/models?x=1"),
            ("none", None),
            ("None", None),
            ("''", "/"),
            ("", "/health"),
        ):
            self.assertEqual(model(f"{SERVER}checkEndpoint: {text}").check_endpoint, path)
        for written in ("health", "http://127.0.0.1:1/health"):
            text = one_model(f"{SERVER}checkEndpoint: {written}")
            self.assertEqual(load(text).config.models["m"].check_endpoint, "/health")
            self.assert_warnings(text, (5, "models.m.checkEndpoint", "begins with /"))

    def test_addresses(self) -> None:
        """Whatever has a colon may be an address, or an endpoint that only its door knows."""
        for text in ("127.0.0.1:80", ":80", "'[::1]:80'", "unix:/run/x", "systemd:domain=INET:name=http"):
            self.assertEqual(load(f"listen: {text}\n{one_model(SERVER)}").config.listen, text.strip("'"))


class BadValueTests(FindingsTestCase):
    """Each kind says what would be right."""

    def test_model_values(self) -> None:
        """Values of a model that are not what the key takes."""
        for key, value, at, part in (
            ("unlisted", "maybe", "", "true or false, not 'maybe'"),
            ("unlisted", "1", "", "true or false"),
            ("unlisted", "[]", "", "not a list"),
            ("name", "[a]", "", "text, not a list"),
            ("name", "{a: b}", "", "text, not a mapping"),
            ("aliases", "a", "", "write `[a]`"),
            ("aliases", "'*'", "", "write `['*']`"),
            ("aliases", "-a", "", "write a blank behind each -"),
            ("aliases", "{a: b}", "", "not a mapping"),
            ("aliases", "[[a]]", "[0]", "name, not a list"),
            ("aliases", '["a\\nb"]', "[0]", "control characters"),
            ("env", "A=1", "", "`- NAME=value`"),
            ("env", "{A: 1}", "", "not a mapping"),
            ("env", "[=1]", "[0]", "`NAME=value`"),
            ("env", "[A: 1]", "[0]", "not a mapping"),
            ("env", '["A=\\0"]', "[0]", "`NAME=value`"),
            ("checkEndpoint", "/a b", "", "path"),
            ("checkEndpoint", "[none]", "", "not a list"),
            ("proxy", "[a]", "", "text"),
            ("macros", "[a]", "", "mapping"),
        ):
            self.assert_errors(one_model(f"{SERVER}{key}: {value}"), (5, f"models.m.{key}{at}", part))

    def test_long_values_are_cut(self) -> None:
        """A message quotes no more than the beginning of a value."""
        self.assert_errors(one_model(f"{SERVER}unlisted: {'x' * 99}"), (5, "models.m.unlisted", f"'{'x' * 40}…'"))

    def test_addresses(self) -> None:
        """A port alone says too little: it is that of this machine, and the message offers both of its meanings."""
        for text, taken in (("9090", "127.0.0.1:9090"), ("localhost", None), ("[a]", None)):
            file = f"listen: {text}\n{one_model(SERVER)}"
            self.assertEqual(load(file).config.listen, taken)
            self.assert_warnings(file, (1, "listen", f"taken as {taken or 'absent'}"))
        self.assert_warnings(f"listen: 9090\n{one_model(SERVER)}", (1, "listen", ":9090 for all interfaces"))
