"""What commands want of a shell."""

from __future__ import annotations

from llama_swap.config.command import split
from llama_swap.config.shell import wishes
from tests.support_config import FindingsTestCase, load, model, one_model


class WishTests(FindingsTestCase):
    """Commands as people would type them."""

    def assert_wishes(self, cmd: str, *parts: str) -> None:
        """Check that a command is told these things, and no others."""
        told = [*wishes(split(cmd))]
        self.assertEqual(len(told), len(parts), (cmd, told))
        for wish, part in zip(told, parts, strict=True):
            self.assertTrue(wish.startswith("no shell runs this, so nobody "), wish)
            self.assertIn(part, wish, cmd)

    def assert_ends(self, cmd: str, part: str) -> None:
        """Check that a command is told one thing, which ends with `part`."""
        self.assert_wishes(cmd, part)
        [wish] = wishes(split(cmd))
        self.assertTrue(wish.endswith(part), wish)

    def test_home(self) -> None:
        """A `~` stays what it is, wherever a path may begin."""
        for cmd in ("x -m ~/b.gguf", "~/bin/x", "x --model=~/b", "docker run -v ~/m:/m y", "x ~"):
            self.assert_wishes(cmd, "replaces ~: write ${env.HOME}")
        for cmd in ("x -m /a~/b", "x ~me", "x -ot a~/b", "x b.gguf~"):
            self.assert_wishes(cmd)

    def test_variables(self) -> None:
        """A variable is named, with the way to have it replaced here; what is no variable is not."""
        self.assert_wishes("x -m $HOME/a --user=$USER", "replaces $HOME and $USER: write ${env.HOME} and ${env.USER}")
        self.assert_wishes("x -m ~/a $HOME/b $LIB", "replaces ~, $HOME and $LIB: write ${env.HOME} and ${env.LIB}")
        self.assert_wishes("docker stop $MODEL_ID", "replaces $MODEL_ID: write ${MODEL_ID}")
        self.assert_wishes("kill $PID $HOME", "replaces $PID and $HOME: write ${PID} and ${env.HOME}")
        for cmd in ("x $PORT", "x -ot '\\.[0-9]+$=CPU'", "x --api-key pa$SWORD", "x 'a$'", "x $1"):
            self.assert_wishes(cmd)

    def test_operators(self) -> None:
        """Pipes, redirections, lists and substitutions are a shell's."""
        for cmd, signs in (
            ("x | tee y", "|"),
            ("x && y", "&&"),
            ("x || true", "||"),
            ("x > log", ">"),
            ("x >>log 2>&1", ">> and 2>"),
            ("x >/dev/null 2>/dev/null", "> and 2>"),
            ("x &> log < in", "&> and <"),
            ("x -t $(nproc)", "$("),
            ("x --threads=`nproc`", "`"),
        ):
            around = 'write bash -c "… exec …" around it all, with exec before the last command'
            self.assert_ends(cmd, f"acts on {signs}: {around}")
        self.assert_ends("x ; y &", f"acts on ; and &: {around} and no & at the end")
        self.assert_ends("nohup x > y &", f"acts on > and &: {around} and no & at the end")
        self.assert_ends("exec x > y", f"acts on exec and >: {around}")
        for cmd in (
            "x --stop '<|im_end|>'",
            "x '<s>' '>=3'",
            "x -ot 'a|b'",
            "x 'a; b && c'",
            "x 'a $(b)'",
            "x '> y z'",
        ):
            self.assert_wishes(cmd)

    def test_needless(self) -> None:
        """What keeps a server in the background, or a shell out of the way, is not wanted at all."""
        for cmd, told in (
            ("python3 -m http.server 1 &", "acts on &: leave it out"),
            ("nohup x &", "acts on &: leave it out"),
            ("exec x", "acts on exec: leave it out"),
            ("exec x &", "acts on exec and &: leave them out"),
        ):
            self.assert_ends(cmd, told)
        self.assert_wishes("nohup x")

    def test_commands_of_shells(self) -> None:
        """What only shells can do is told with all that belongs to it."""
        self.assert_wishes("cd /m && ./x | tee y", "acts on cd, && and |: write bash -c")
        self.assert_wishes("x cd")

    def test_assignments(self) -> None:
        """Variables in front of a program are told by their names only: a value may be a secret."""
        self.assert_wishes("A=1 x", "sets A=…: put that under `env:`")
        self.assert_wishes("A=1 HF_TOKEN=hush x -m ~/y", "sets A=… and HF_TOKEN=…: put", "replaces ~")
        self.assert_wishes("A=1 bash -c 'x'", "sets A=…")
        self.assert_wishes("env A=1 x --b=c")

    def test_shells(self) -> None:
        """What a shell will see is its business, here or elsewhere."""
        for cmd in (
            "bash -c 'cd ~ && x > y'",
            "/bin/sh -ec 'x' $HOME",
            "nice -n 5 bash -l -c x ~/y",
            "docker run y sh -c x | z",
            "ssh gpu x -m ~/b | tee y",
            "autossh host x --model=$HOME/b",
            "bash -euo pipefail -c 'export A=/b:$A && exec x -m ~/b' $HOME/c",
            "docker run --entrypoint /bin/bash y -c 'x' --model=$MODEL",
            "docker run --entrypoint=sh y -c 'x' --model=$MODEL",
            "nix-shell -p y --run x=$HOME/b",
            "su -c ~/x",
            "su me -c ~/x",
            "bash run.sh -c 4096 ~/b",
        ):
            self.assert_wishes(cmd)
        self.assert_wishes("bash run.sh ~/b", "replaces ~")
        self.assert_wishes("docker run --entrypoint=x y -c 1 ~/b", "replaces ~")

    def test_scripts(self) -> None:
        """An argument with blanks was quoted: whoever gets it may be a shell that we do not know."""
        for script in ("export PATH=/x:$PATH && x", "~/x --port 1", "x -m=$HOME/b", "x\n~/y"):
            self.assert_wishes(f"wrapper --do '{script}'")

    def test_places(self) -> None:
        """Each is a warning at its command, which stays as it is, with its macros expanded."""
        text = "macros: {files: ~/models}\n" + one_model("cmd: x --port 1 -m ${files}/b\ncmdStop: x || true")
        self.assert_warnings(text, (5, "models.m.cmd", "replaces ~"), (6, "models.m.cmdStop", "acts on ||"))
        self.assertEqual(load(text).config.models["m"].cmd[-1], "~/models/b")
        self.assertEqual(model("cmd: x --port 1 | tee y").cmd, ("x", "--port", "1", "|", "tee", "y"))
