"""Several files as one configuration."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.load import Loaded, load_config
from llama_swap.config.sources import Sources
from llama_swap.errors import ConfigError

MODEL = "models: {%s: {cmd: 'serve --port ${PORT} ${m}', aliases: [%s-alias]}}\n"
MACRO = "macros: {m: one}\n"


class FilesTestCase(SynchronousTestCase):
    """A directory to write in."""

    def setUp(self) -> None:
        """Make it."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, **texts: str) -> list[str]:
        """Write files that end with .yaml; return their paths."""
        for name, text in texts.items():
            (self.directory / f"{name}.yaml").write_text(text)
        return [str(self.directory / f"{name}.yaml") for name in texts]

    def load(self, **texts: str) -> Loaded:
        """Return what these files say together."""
        return load_config(*self.write(**texts), environ={})

    def refusal(self, **texts: str) -> str:
        """Return why these files cannot be used."""
        return str(self.assertRaises(ConfigError, self.load, **texts))


class MergeTests(FilesTestCase):
    """What is added to what."""

    def test_sections(self) -> None:
        """Models come together, macros of one file hold in the next, and lists are put one behind the other."""
        config = self.load(
            a=MACRO + MODEL % ("a", "a") + "profiles: {p: [a]}\napiKeys: [one]\n",
            b="profiles: {q: [b]}\napiKeys: [two]\nttl:\n" + MODEL % ("b", "b"),
        ).config
        self.assertEqual({name: model.cmd[-1] for name, model in config.models.items()}, {"a": "one", "b": "one"})
        self.assertEqual([model.port for model in config.models.values()], [5800, 5801])
        self.assertEqual((config.profiles, config.api_keys), ({"p": ("a",), "q": ("b",)}, ("one", "two")))

    def test_equal_values(self) -> None:
        """A value may be given twice, if it is the same; null gives way to a value."""
        first = f"{MACRO}{MODEL % ('a', 'a')}globalTTL: 5\nlogRequests:\nmaxWait: 3\n"
        config = self.load(a=first, b="globalTTL: 5\nlogRequests: true\nmaxWait: ~\n").config
        self.assertEqual((config.models["a"].ttl, config.log_requests, config.max_wait), (5, True, 3.0))

    def test_contradictions(self) -> None:
        """Two values, or two kinds of values, for one key are an error with the place of the second."""
        for key, first, second in (
            ("globalTTL", "5", "6"),
            ("macros", "{m: one}", "{m: two}"),
            ("apiKeys", "[a]", "a"),
        ):
            text = self.refusal(a=MODEL % ("a", "a") + f"{key}: {first}\n", b=f"\n{key}: {second}\n")
            path = "macros.m" if key == "macros" else key
            file = self.directory / "b.yaml"
            message = f"{file}:2: {path}: has another value in {self.directory / 'a.yaml'}:2; remove one"
            self.assertIn(message, text.splitlines())

    def test_duplicates(self) -> None:
        """What has a name stands in one file, even if both say the same."""
        text = MACRO + MODEL % ("a", "a") + "profiles: {p: [a]}\n"
        file = self.directory / "b.yaml"
        lines = self.refusal(a=text, b=text).splitlines()
        for line, path in ((2, "models.a"), (3, "profiles.p")):
            first = f"{self.directory / 'a.yaml'}:{line}"
            self.assertIn(f"{file}:{line}: {path}: defined already, in {first}; remove or rename one", lines)

    def test_problems_of_all_files(self) -> None:
        """Each problem names its own file, also those between files and those of files that cannot be read."""
        second = MODEL % ("b", "b") + "globalTTL: soon\n"
        lines = self.refusal(a=MACRO + MODEL % ("a", "a"), b=second.replace("b-alias", "a-alias")).splitlines()
        file = self.directory / "b.yaml"
        self.assertEqual([line.split(": ")[0] for line in lines], [f"{file}:1", f"{file}:2"])
        lines = self.refusal(a="models: [", b="x: {", c="models: {}").splitlines()
        self.assertEqual([Path(line.partition(":")[0]).stem for line in lines], ["a", "b"])

    def test_warnings(self) -> None:
        """So does each warning."""
        [warning] = self.load(a=MACRO + MODEL % ("a", "a"), b="tttl: 5\n").warnings
        self.assertTrue(warning.render("x").startswith(f"{self.directory / 'b.yaml'}:1: tttl: "))

    def test_empty_files(self) -> None:
        """A file of comments only is nothing, beside others."""
        self.assertEqual(list(self.load(a="# later\n", b=MACRO + MODEL % ("b", "b")).config.models), ["b"])
        self.assertIn("models:", self.refusal(a="# later\n", b=""))


class SourcesTests(FilesTestCase):
    """Which files are read."""

    def paths(self, file: str | None = None, *, directory: bool = True) -> list[str]:
        """Return the names of the files that are read."""
        sources = Sources(file, str(self.directory) if directory else None)
        return [Path(path).name for path in sources.paths()]

    def test_directory(self) -> None:
        """By name, those that end with .yml or .yaml, at the top, and not hidden."""
        for name in ("b.yaml", "a.yml", "c.yaml.bak", ".hidden.yaml", "readme.txt"):
            (self.directory / name).write_text("")
        (self.directory / "below").mkdir()
        (self.directory / "below" / "d.yaml").write_text("")
        self.assertEqual(self.paths(), ["a.yml", "b.yaml"])
        self.assertEqual(self.paths("first.yaml"), ["first.yaml", "a.yml", "b.yaml"])
        self.assertEqual(self.paths("first.yaml", directory=False), ["first.yaml"])

    def test_refused(self) -> None:
        """No file, no directory, an empty one, and one file twice."""
        [path] = self.write(a="")
        linked = self.directory.parent / "linked.yaml"
        linked.symlink_to(Path(path).resolve())
        self.addCleanup(linked.unlink)
        for sources, message in (
            (Sources(), "at least one of --config and --config-dir must be given"),
            (Sources(None, "/no/such"), "/no/such: cannot be read: No such file or directory"),
            (Sources(None, path), "cannot be read: Not a directory"),
            (Sources(path, str(self.directory)), "is read twice"),
            (Sources(str(linked), str(self.directory)), "is read twice"),
        ):
            self.assertIn(message, str(self.assertRaises(ConfigError, sources.paths)))
        Path(path).unlink()
        self.assertIn("has no file", str(self.assertRaises(ConfigError, self.paths)))
        self.assertEqual(self.paths("x"), ["x"])
