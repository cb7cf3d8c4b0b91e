"""The drawings in docs/design.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.upstream.machine import new_process

DESIGN = Path(__file__).parent.parent / "docs" / "design.md"
ROOMS = Path(__file__).parent.parent / "llama_swap"


def drawn_from_the_machine() -> list[str]:
    """Return the diagram's transitions, as mermaid writes them."""
    transitions = new_process.__automat_automaton__.allTransitions()
    return sorted(f"{old.name} --> {new.name}: {name}" for old, name, new, _ in transitions if old is not new)


class DesignDocument(SynchronousTestCase):
    def test_state_diagram(self) -> None:
        """The diagram has exactly the transitions of the machine."""
        diagram = re.search(r"```mermaid\n(.*?)```", DESIGN.read_text(), re.DOTALL)
        assert diagram is not None
        drawn = [line.strip() for line in diagram[1].splitlines() if ": " in line]
        self.assertEqual(drawn, drawn_from_the_machine())

    def test_rooms(self) -> None:
        """The table of rooms names every package, and nothing that does not exist."""
        named = set(re.findall(r"^\| `(\w+)/` \|", DESIGN.read_text(), re.MULTILINE))
        exist = {path.parent.name for path in ROOMS.glob("*/__init__.py")}
        self.assertEqual(named, exist)
