"""Run a game of ``examples/games`` with a plain loop instead of ``GameTrainer``, for comparison.

    python -m benchmarks.plain_game examples/games/infogan.py --iterations 3000 --out runs/plain

The data, networks, objectives and figures of the script stay the same. Only its trainer is replaced. The plain loop
calls ``zero_grad``, ``backward`` and ``step`` for one player after the other, in float32, and nothing else. Gradients
therefore also arrive at networks that the player does not own. The next ``zero_grad`` removes them.
"""

import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganlib import training
from ganlib.protocols import Stateful


class PlainGame:
    """Train like ``GameTrainer``, without anything that makes it fast or safe; ignore its settings."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module | Stateful],
        players: Sequence[training.Player],
        *,
        prepare: Callable[[Any], Any] | None = None,
        **settings: Any,
    ) -> None:
        self.modules = dict(modules)
        self.players = players
        self.prepare = prepare or (lambda batch: batch)
        self.iteration = 0
        self.metrics: dict[str, Tensor] = {}

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Update each player in turn."""
        prepared = self.prepare(next(batches))
        for player in self.players:
            if self.iteration % player.every:
                continue
            for step in range(player.steps):
                if step:
                    prepared = self.prepare(next(batches))
                value = player.objective(prepared)
                loss, metrics = value if isinstance(value, tuple) else (value, {})
                for other in self.players:
                    other.optimizer.zero_grad()
                loss.backward(retain_graph=True)
                player.optimizer.step()
                named = {f"{player.name}_loss": loss, **metrics}
                self.metrics.update({name: scalar.detach() for name, scalar in named.items()})
        self.iteration += 1
        return dict(self.metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return the networks, for a figure that is computed afterwards; the state cannot be resumed."""
        return {
            "iteration": self.iteration,
            "modules": {name: part.state_dict() for name, part in self.modules.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse to resume."""
        raise NotImplementedError("a plain game cannot be resumed")


def main() -> None:
    """Run the script in the first argument, with the other arguments."""
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    training.GameTrainer = PlainGame  # type: ignore[misc, assignment]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
