"""Keys: those that are unknown, and those that come later."""

from __future__ import annotations

from attrs import fields_dict

from llama_swap.config.keys import MODEL, TOP
from llama_swap.config.model import Config, ModelConfig
from tests.support_config import FindingsTestCase, load, one_model

SERVER = "cmd: x --port 1\n"
FILE = one_model(SERVER)


class UnknownKeyTests(FindingsTestCase):
    """Unknown keys are warnings that help."""

    def test_top_level(self) -> None:
        """A key of the top level that is nearly right, or that people believe to exist."""
        for key, part in (
            ("health_check_timeout", "did you mean healthCheckTimeout?"),
            ("healthCheckTimeOut", "did you mean healthCheckTimeout?"),
            ("healthcheckTimeot", "did you mean healthCheckTimeout?"),
            ("readyTimeout", "did you mean healthCheckTimeout?"),
            ("idleTimeout", "did you mean globalTTL?"),
            ("host", "did you mean listen?"),
            ("port", "did you mean listen?"),
            ("model", "did you mean models?"),
            ("ttl", "ttl belongs inside a model"),
            ("use_model_name", "useModelName belongs inside a model"),
            ("timeout", "did you mean healthCheckTimeout, or timeouts inside a model?"),
            ("zzz", "x-"),
        ):
            self.assert_warnings(f"{key}: 1\n{FILE}", (1, key, part))

    def test_model(self) -> None:
        """A key of a model."""
        for key, part in (
            ("check_endpoint", "did you mean checkEndpoint?"),
            ("alias", "did you mean aliases?"),
            ("TTL", "did you mean ttl?"),
            ("idleTimeout", "did you mean ttl?"),
            ("unload_timeout", "did you mean unloadTimeout?"),
            ("healthCheckTimeout", "belongs at the top level"),
            ("tags", "unknown key: ignored"),
            ("prox", "did you mean proxy?"),
            ("pory", "did you mean proxy?"),
            ("porxy", "did you mean proxy?"),
            ("tll", "did you mean ttl?"),
            ("evn", "did you mean env?"),
            ("nmae", "did you mean name?"),
            ("enviroment", "did you mean env?"),
            ("envs", "did you mean env?"),
            ("timeout", "did you mean timeouts?"),
            ("cwd", "write `cmd: env -C DIR …`"),
            ("working_dir", "write `cmd: env -C DIR …`"),
        ):
            self.assert_warnings(one_model(f"{SERVER}{key}: 1"), (5, f"models.m.{key}", part))

    def test_one_level_off(self) -> None:
        """A key that belongs a level below, or above, is told where."""
        for key in ("stripParams", "strip_params", "setParams", "setParamsByID"):
            self.assert_warnings(one_model(f"{SERVER}{key}: ~"), (5, f"models.m.{key}", "it belongs in `filters`"))
        self.assert_warnings(f"hooks: {{preload: [m]}}\n{FILE}", (1, "hooks.preload", "it belongs in `on_startup`"))
        for text, path, part in (
            ("ignorePaths: []", "ignorePaths", "it belongs in `upstream`"),
            ("security: {allowedOrigins: []}", "security.allowedOrigins", "it belongs in `cors`"),
            ("ui: {session_id: []}", "ui.session_id", "it belongs in `activity`"),
            ("routing: {groups: {}}", "routing.groups", "it belongs in `router`, in its `settings`"),
        ):
            self.assert_warnings(f"{text}\n{FILE}", (1, path, part))
        self.assert_warnings(one_model(f"{SERVER}context: 1"), (5, "models.m.context", "it belongs in `capabilities`"))
        for key in ("models", "members"):
            text = f"profiles: {{p: {{{key}: [m]}}}}\n{FILE}"
            self.assert_warnings(text, (1, f"profiles.p.{key}", "right behind the profile's name, as in `coding: ["))

    def test_lists_of_models(self) -> None:
        """What groups and selectors call their models is known by another word, too."""
        self.assert_warnings(f"groups: {{g: {{models: [m]}}}}\n{FILE}", (1, "groups.g.models", "did you mean members?"))
        text = f"selectors: {{s: {{strategy: pin, targets: [m], models: [m]}}}}\n{FILE}"
        self.assert_warnings(text, (1, "selectors.s.models", "did you mean targets?"))

    def test_newer_name(self) -> None:
        """Of two names of one key, the newer is suggested."""
        lines = f"{SERVER}filters: {{stripparams: x}}"
        self.assert_warnings(one_model(lines), (5, "models.m.filters.stripparams", "did you mean stripParams?"))

    def test_other_blanks(self) -> None:
        """A key that was indented with blanks from a web page is told as that."""
        told = "begins with a blank that is no plain one: indent it with spaces"
        self.assert_warnings(one_model(f"{SERVER}\u00a0ttl: 1"), (5, "models.m.'\\xa0ttl'", told))
        [warning] = load(one_model(f'{SERVER}" ttl": 1')).warnings
        self.assertNotIn("no plain one", warning.message)

    def test_command(self) -> None:
        """The only key that every model needs is known however it was typed."""
        for key in ("cdm", "mcd", "cmmd", "comand", "commnad", "CMD", "cm"):
            self.assert_errors(one_model(f"{key}: x --port 1"), (2, "models.m", f"has no `cmd`; rename `{key}` to it"))

    def test_nothing_alike(self) -> None:
        """A key that only looks a little like another one gets no suggestion."""
        for key in ("tools", "stop", "start", "hosts", "id", "type", "user", "tags", "port2", "logs", "limits"):
            [warning] = load(f"{key}: 1\n{FILE}").warnings
            self.assertNotIn("did you mean", warning.message)
        for key in ("tools", "stop", "start", "id", "type", "mode", "tags", "gpu", "args", "port", "model", "url2"):
            [warning] = load(one_model(f"{SERVER}{key}: 1")).warnings
            self.assertNotIn("did you mean", warning.message)
        for key in ("cwd", "tls", "end", "ctl"):
            [warning] = load(one_model(f"{SERVER}{key}: 1")).warnings
            self.assertNotIn("did you mean", warning.message)

    def test_own_keys(self) -> None:
        """Keys that begin with `x-` belong to the user."""
        self.assert_warnings(f"x-mine: [1]\n{one_model(SERVER + 'x-note: a')}")

    def test_once_for_each_place(self) -> None:
        """An unknown key in a template is told once, however many models merge it."""
        models = "".join(f"  m{n}:\n    <<: *d\n    cmd: x --port {n}\n" for n in range(1, 9))
        self.assert_warnings(f"x-d: &d\n  tags: a\nmodels:\n{models}", (2, "x-d.tags", "unknown key"))


class KnownKeyTests(FindingsTestCase):
    """The tables of keys, and the values that they are read into."""

    def test_attributes(self) -> None:
        """Every value of the configuration has its key, but for those that only others are made of."""
        for table, cls, parts in (
            (
                TOP,
                Config,
                {
                    "macros",
                    "groups",
                    "matrix",
                    "hooks",
                    "preload",
                    "startup_profile",
                    "send_loading_state",
                    "pin_profiles",
                    "global_ttl",
                    "unload_timeout",
                    "start_port",
                },
            ),
            (MODEL, ModelConfig, {"macros", "id", "port"}),
        ):
            attributes = {key.attribute for key in table}
            self.assertEqual(attributes ^ set(fields_dict(cls)), parts)
