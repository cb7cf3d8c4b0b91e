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


def imports_of_rooms() -> dict[str, set[str]]:
    """Return what the modules of each room import of other rooms, without what all may import."""
    found: dict[str, set[str]] = {}
    for path in ROOMS.rglob("*.py"):
        room = path.relative_to(ROOMS).parts[0].removesuffix(".py")
        imports = re.findall(
            r"^ *from llama_swap(?:\.(?!config\.model)(\w+)[\w.]* import| import (?:__version__, )?(\w+))",
            path.read_text(),
            re.MULTILINE,
        )
        found.setdefault(room, set()).update("".join(names) for names in imports)
    return {room: imports - {room, "errors", "__version__"} for room, imports in found.items() if room != "__init__"}


class DesignDocument(SynchronousTestCase):
    def test_state_diagram(self) -> None:
        """The diagram has exactly the transitions of the machine."""
        diagram = re.search(r"```mermaid\n(.*?)```", DESIGN.read_text(), re.DOTALL)
        assert diagram is not None
        drawn = [line.strip() for line in diagram[1].splitlines() if ": " in line]
        self.assertEqual(drawn, drawn_from_the_machine())

    def test_rooms(self) -> None:
        """The table of rooms names every package and module, with what each imports, and nothing else."""
        rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|.*\| (.+) \|$", DESIGN.read_text(), re.MULTILINE)
        told = {room: set(re.findall(r"`(\w+)`", imports)) for room, imports in rows if imports != "everything"}
        self.assertEqual(told, {room: imports for room, imports in imports_of_rooms().items() if room != "composition"})
