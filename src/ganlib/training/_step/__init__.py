"""One update: what happens between a batch and an optimizer's step, for any player of any game."""

__all__ = ()
