"""Base class of encoders."""

from torch import nn

from ganlib._checks import check_sizes

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Store the sizes of an encoder."""

    def __init__(self, features: int, **sizes: int) -> None:
        super().__init__()
        check_sizes(**sizes)
        self.features: int = int(features)  # not a NumPy number
        self._sizes = sizes

    def extra_repr(self) -> str:
        """Return the sizes, for ``repr``, unless the layers show them."""
        return "" if any(self.children()) else ", ".join(map(str, self._sizes.values()))
