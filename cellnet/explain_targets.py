"""What a network's map can be asked for: the answers that it can give.

Which of them a cell is asked for is left to ``explain_run``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellnet.bundle import Bundle
from cellnet.errors import CellnetError

__all__ = ["GRANULAR", "HYPOGRANULAR", "Target", "target_named", "targets"]

GRANULAR, HYPOGRANULAR = "granular", "hypogranular"


@dataclass(frozen=True)
class Target:
    """An answer that a map can be asked for.

    Attributes:
        name: A class, ``granular`` or ``hypogranular``.
        output: Number of the network's output.
        sign: 1 where a higher output speaks for it, -1 where a lower one does.
    """

    name: str
    output: int
    sign: int

    def score(self, answers: np.ndarray) -> np.ndarray:
        """How much answers ``(n, outputs)`` say it, ``(n,)`` in [0, 1]."""
        answer = answers[:, self.output]
        return answer if self.sign > 0 else 1 - answer


def targets(bundle: Bundle) -> dict[str, Target]:
    """What maps can be asked for, by name, in the order of the network's outputs."""
    if bundle.kind == "granularity":
        return {GRANULAR: Target(GRANULAR, 0, 1), HYPOGRANULAR: Target(HYPOGRANULAR, 0, -1)}
    classes = bundle.description["output"]["classes"]
    return {name: Target(name, output, 1) for output, name in enumerate(classes)}


def target_named(bundle: Bundle, name: str | None) -> Target | None:
    """The answer of that name; None for none, where each cell's own answer is asked for.

    Raises:
        CellnetError: The network gives no such answer; the message lists those that it gives.
    """
    if name is None:
        return None
    known = targets(bundle)
    if name not in known:
        raise CellnetError(
            f"{bundle.name} answers no '{name}'; a map can be asked for {', '.join(known)}"
        )
    return known[name]
