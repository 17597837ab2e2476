"""The loop: it draws batches, steps any trainer, calls callbacks, and can go on where it stopped."""

__all__ = ()
