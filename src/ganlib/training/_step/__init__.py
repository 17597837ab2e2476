"""Update one player of any game: from a batch to an optimizer's step."""

__all__ = ()
