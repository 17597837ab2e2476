"""Time training steps and compare them; ``python -m benchmarks.speed`` runs it."""
