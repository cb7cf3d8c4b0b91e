"""`cmdStop`: the arguments of what stops a model."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, model, one_model

SERVER = "cmd: x --port ${PORT}\n"


class StopCommandTests(FindingsTestCase):
    """From the text to the arguments."""

    def test_absent(self) -> None:
        """Nothing, null, and nothing but comments, blanks and macros that are empty are no command."""
        for text in ("", "cmdStop: null", "cmdStop: ~", "cmdStop: ''", "cmdStop: '  '", "cmdStop: |\n  # stop\n"):
            self.assertEqual(model(SERVER + text).cmd_stop, (), text)
        self.assertEqual(model(f"{SERVER}macros: {{none: ''}}\ncmdStop: ${{none}} ${{none}}").cmd_stop, ())

    def test_words(self) -> None:
        """It is split as `cmd` is; the model's macros are replaced, but for the process id, which is not known yet."""
        text = "macros: {how: TERM}\ncmdStop: |\n  # politely\n  kill -${how} \\\n  ${PID} 'a ${PORT}' ${MODEL_ID}"
        self.assertEqual(model(SERVER + text).cmd_stop, ("kill", "-TERM", "${PID}", "a 5800", "m"))

    def test_errors(self) -> None:
        """What is wrong is told with its place."""
        for value, part in (
            ("[a]", "must be text"),
            ("stop 'a", "never closed"),
            ("stop ${NAME}", "unknown macro ${NAME}"),
            ("\"''\"", "empty word"),
        ):
            self.assert_errors(one_model(f"{SERVER}cmdStop: {value}"), (5, "models.m.cmdStop", part))

    def test_port(self) -> None:
        """A port is given to those models only whose `cmd` uses it."""
        text = one_model("cmd: x --port 1\ncmdStop: stop ${PORT}")
        self.assert_errors(text, (5, "models.m.cmdStop", "whose `cmd` uses it"))
