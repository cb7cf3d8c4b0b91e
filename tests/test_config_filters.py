"""`filters` of a model."""

from __future__ import annotations

from llama_swap.config.model import Filters
from tests.support_config import FindingsTestCase, load

MODELS = "models:\n  m:\n    cmd: x --port 1\n    filters:\n%s  other: {cmd: y --port 2}\n"


def with_filters(*lines: str) -> str:
    """Return a file whose model m has these lines in its filters, from line 5 on."""
    return MODELS % "".join(f"      {line}\n" for line in lines)


class FilterTests(FindingsTestCase):
    """The keys."""

    def filters(self, *lines: str) -> Filters | None:
        """Return the filters of these lines."""
        return load(with_filters(*lines)).config.models["m"].filters

    def test_strip(self) -> None:
        """Names with commas between them, by either name of the key; `model` stays."""
        for key in ("stripParams", "strip_params"):
            self.assertEqual(self.filters(f"{key}: ' a, b.c,,a'"), Filters(strip_params=("a", "b.c")))
        self.assertEqual(self.filters("stripParams: [a, 'b, c']"), Filters(strip_params=("a", "b", "c")))
        self.assert_warnings(
            with_filters("stripParams: model, a"), (5, "models.m.filters.stripParams", "says who is asked")
        )

    def test_set(self) -> None:
        """Values keep their types, macros are expanded, also in names that become aliases."""
        text = with_filters(
            "setParams: {a.b: 0.5, c: [no, ~], model: x}", "setParamsByID:", "  '${MODEL_ID}:high': {effort: high}"
        )
        model = load(text).config.models["m"]
        by_id = {"m:high": {"effort": "high"}}
        self.assertEqual(model.filters, Filters(set_params={"a.b": 0.5, "c": ["no", None]}, set_params_by_id=by_id))
        self.assertEqual(model.aliases, ("m:high",))

    def test_order(self) -> None:
        """An object is put in before what is put into it, wherever they stand."""
        lines = "setParams: {a.b: 1, 'model.x': 2, a: {c: 3}}", "stripParams: 'model.y, d'"
        told = load(with_filters(*lines)).config.models["m"].filters
        self.assertEqual(told, Filters(strip_params=("d",), set_params={"a": {"c": 3}, "a.b": 1}))
        assert told is not None
        self.assertEqual(list(told.set_params), ["a", "a.b"])
        self.assert_warnings(
            with_filters(*lines),
            (5, "models.m.filters.setParams.model.x", "`model` says who is asked, and stays"),
            (6, "models.m.filters.stripParams", "`model` says who is asked, and stays"),
        )

    def test_if_absent(self) -> None:
        """A `?` behind a path stays with it; it is nothing beside the same without one, by itself, or with `model`."""
        lines = "setParams: {b.c?: 1, b: {}, a?: 2, d: 3}", "setParamsByID: {n: {a: 1, a?: 2, '?': 3, model?: x}}"
        told = load(with_filters(*lines)).config.models["m"].filters
        assert told is not None
        self.assertEqual(list(told.set_params.items()), [("a?", 2), ("b", {}), ("b.c?", 1), ("d", 3)])
        self.assertEqual(told.set_params_by_id, {"n": {"a": 1}})
        self.assert_warnings(
            with_filters(*lines),
            (6, "models.m.filters.setParamsByID.n.?", "there is no name before the `?`"),
            (6, "models.m.filters.setParamsByID.n.a?", "since a is set in any case"),
            (6, "models.m.filters.setParamsByID.n.model?", "`model` says who is asked, and stays"),
        )

    def test_own_name(self) -> None:
        """The model's own id may have parameters of its own; it needs no alias."""
        self.assertEqual(load(with_filters("setParamsByID: {m: {a: 1}}")).config.models["m"].aliases, ())

    def test_conflicts(self) -> None:
        """A name that means another model already is an error."""
        self.assert_errors(
            with_filters("setParamsByID: {other: {a: 1}}"),
            (2, "models.m", "alias 'other' is the name of another model"),
        )

    def test_nothing(self) -> None:
        """Empty filters are none."""
        self.assertIsNone(load("models: {m: {cmd: x --port 1, filters: }}").config.models["m"].filters)

    def test_wrong_kinds(self) -> None:
        """What has the wrong form is an error at its place."""
        for line, path in (
            ("stripParams: {a: b}", "stripParams"),
            ("setParams: [a]", "setParams"),
            ("setParamsByID: a", "setParamsByID"),
            ("setParamsByID: {a: b}", "setParamsByID.a"),
        ):
            self.assert_errors(with_filters(line), (5, f"models.m.filters.{path}", "must be"))

    def test_names(self) -> None:
        """A name under which requests find parameters must be one, and be there once; macros are expanded first."""
        for names, path, told in (
            ("'': {a: 1}", "", "must be a name that requests can use"),
            ("'m:x': {a: 1}, '${MODEL_ID}:x': {a: 2}", "${MODEL_ID}:x", "duplicate name 'm:x'"),
        ):
            self.assert_errors(
                with_filters(f"setParamsByID: {{{names}}}"), (5, f"models.m.filters.setParamsByID.{path}", told)
            )
