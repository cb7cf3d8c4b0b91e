"""Groups and priorities: both places of the keys, what they say, and what can be wrong with them."""

from __future__ import annotations

from llama_swap.config.model import Group, Routing
from tests.support_config import FindingsTestCase, load

MODELS = "models: {a: {cmd: x --port 1}, b: {cmd: x --port 2, aliases: [bee]}, c: {cmd: x --port 3}}\n"


def routing(text: str) -> Routing:
    """Return what a file says about routing."""
    return load(MODELS + text).config.routing


class GroupTests(FindingsTestCase):
    """`groups`."""

    def test_defaults(self) -> None:
        """A group says who is in it, if perhaps by an alias; the rest has defaults."""
        self.assertEqual(routing("groups: {g: {members: [a, bee]}}").groups, {"g": Group(members=("a", "b"))})
        self.assertEqual(routing("groups: {g: {}}").groups, {"g": Group()})
        self.assertEqual(routing("").groups, {})
        self.assertEqual(routing("groups:\n").groups, {})
        self.assertEqual(routing("groups: {g: }").groups, {"g": Group()})

    def test_settings(self) -> None:
        """Each setting is read."""
        groups = routing("groups: {g: {swap: no, exclusive: false, persistent: 'true', members: }}").groups
        self.assertEqual(groups, {"g": Group(swap=False, exclusive=False, persistent=True)})

    def test_both_places(self) -> None:
        """The newer form says the same."""
        settings = "settings: {groups: {g: {members: [a]}}}"
        for text in ("groups: {g: {members: [a]}}", f"routing: {{router: {{use: group, {settings}}}}}"):
            self.assertEqual(routing(text).groups, {"g": Group(members=("a",))})
        self.assert_errors(
            f"{MODELS}groups: {{h: {{}}}}\nrouting: {{router: {{{settings}}}}}",
            (2, "groups", "keep one of the two places"),
        )

    def test_members(self) -> None:
        """A model is in one group; one that does not exist is left out."""
        self.assert_errors(
            MODELS + "groups:\n  g: {members: [a, b]}\n  h: {members: [c, bee]}",
            (4, "groups.h.members[1]", "model member b is used in multiple groups: g and h"),
        )
        self.assert_warnings(
            MODELS + "groups: {g: {members: [a, a, bea]}}",
            (2, "groups.g.members[1]", "twice"),
            (2, "groups.g.members[2]", "no model or alias 'bea' (did you mean 'bee'?)"),
        )

    def test_shared_addresses(self) -> None:
        """Members that run side by side, and cannot."""
        models = "models: {a: {cmd: x --port 1}, b: {cmd: x --port 1}}\n"
        self.assert_warnings(
            models + "groups: {g: {swap: false, members: [a, b]}}", (2, "groups.g", "a, b all listen on")
        )
        self.assert_warnings(models + "groups: {g: {members: [a, b]}}")

    def test_wrong_types(self) -> None:
        """What is no group, and what is misspelt."""
        self.assert_errors(MODELS + "groups: [a]", (2, "groups", "must be a mapping of group names"))
        self.assert_errors(MODELS + "groups: {g: [a, b]}", (2, "groups.g", "must be a mapping with `members`"))
        self.assert_errors(MODELS + "groups: {g: {members: a}}", (2, "groups.g.members", "must be a list"))
        self.assert_warnings(MODELS + "groups: {g: {Swap: no}}", (2, "groups.g.Swap", "did you mean swap?"))


class RouterTests(FindingsTestCase):
    """`routing.router`."""

    def test_use(self) -> None:
        """What is used must be known, and be what is there."""
        self.assertEqual(routing("routing: {router: {use: group}}"), Routing())
        self.assert_errors(
            MODELS + "routing: {router: {use: lru}}",
            (2, "routing.router.use", 'unknown router "lru" (valid: group, matrix)'),
        )
        self.assert_errors(
            MODELS + "routing: {router: {use: matrix, settings: {groups: {g: {}}}}}",
            (2, "routing.router.use", "the file has no `matrix`"),
        )
        for old, use in (("groups: {g: {}}", "matrix"), ("matrix: {sets: {s: a}}", "group")):
            self.assert_errors(
                f"{MODELS}{old}\nrouting: {{router: {{use: {use}}}}}", (3, "routing.router.use", "make them agree")
            )

    def test_choice(self) -> None:
        """Both groups and a matrix may be kept in the newer place: `use` says what is used, if not groups."""
        text = MODELS + "routing: {router: {%ssettings: {groups: {g: {members: [a]}}, matrix: {sets: {s: a & b}}}}}"
        found = load(text % "use: matrix, ").config.routing
        self.assertEqual((found.groups, found.matrix and found.matrix.sets), ({}, {"s": "a & b"}))
        for use in ("", "use: group, "):
            self.assertEqual(load(text % use).config.routing, Routing(groups={"g": Group(members=("a",))}))
            self.assert_warnings(text % use, (2, "routing.router.settings.matrix", "is not used"))
        self.assert_errors(
            f"{MODELS}groups: {{g: {{}}}}\nmatrix: {{sets: {{s: a}}}}", (3, "matrix", "cannot use both 'groups' and")
        )

    def test_wrong_types(self) -> None:
        """Sections are mappings."""
        self.assertEqual(routing("routing: {router: , scheduler: []}"), Routing())
        self.assert_errors(MODELS + "routing: group", (2, "routing", "must be a mapping with `router`, `scheduler`"))


class PriorityTests(FindingsTestCase):
    """`routing.scheduler`."""

    def test_priority(self) -> None:
        """Whole numbers by model or alias, negative ones too."""
        settings = "settings: {fifo: {priority: {a: 10, bee: -1}}}"
        for use in ("", "use: fifo, "):
            self.assertEqual(routing(f"routing: {{scheduler: {{{use}{settings}}}}}").priority, {"a": 10, "b": -1})

    def test_errors(self) -> None:
        """Models must exist, numbers be whole, and the scheduler the one there is."""
        self.assert_errors(
            MODELS + "routing: {scheduler: {use: lifo, settings: {fifo: {priority: {a: high, d: 1}}}}}",
            (2, "routing.scheduler.use", 'unknown scheduler "lifo" (valid: fifo)'),
            (2, "routing.scheduler.settings.fifo.priority.a", "whole number"),
            (2, "routing.scheduler.settings.fifo.priority.d", "no model or alias 'd'"),
        )
        at = "routing.scheduler.settings.fifo.priority"
        for written in ("[a, bee]", "a"):
            text = f"{MODELS}routing: {{scheduler: {{settings: {{fifo: {{priority: {written}}}}}}}}}"
            self.assert_errors(text, (2, at, "must be a mapping of models to whole numbers, not "))
