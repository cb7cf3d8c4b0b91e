"""Commands, one at a time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.routing.turns import InTurn
from llama_swap.scheduling.commands import Command, Start


class InTurnTests(SynchronousTestCase):
    """`InTurn`."""

    def test_order(self) -> None:
        """What a command causes is carried out after all that came before it, however deep that goes."""
        causes = {"a": [Start("c")], "c": [Start("d")]}
        done: list[str] = []

        def carry_out(command: Command) -> None:
            assert isinstance(command, Start)
            self.assertTrue(execute.busy)
            execute(causes.get(command.model, []))
            done.append(command.model)

        execute = InTurn(carry_out)
        execute([Start("a"), Start("b")])
        self.assertEqual(done, ["a", "b", "c", "d"])
        self.assertFalse(execute.busy)

    def test_defect(self) -> None:
        """What cannot be carried out is logged, and keeps nothing else from being so."""
        done: list[str] = []

        def carry_out(command: Command) -> None:
            assert isinstance(command, Start)
            done.append(command.model[0])

        InTurn(carry_out)([Start(""), Start("b")])
        self.assertEqual(done, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
