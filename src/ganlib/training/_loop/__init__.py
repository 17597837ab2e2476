"""Run the training loop: draw batches, call the trainer and callbacks, resume."""

__all__ = ()
