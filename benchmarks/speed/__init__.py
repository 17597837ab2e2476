"""What a training step costs, timed side by side; ``python -m benchmarks.speed`` runs it."""
