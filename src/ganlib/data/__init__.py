"""Data sets and loaders."""

from ganlib.data._image_folder import ImageFolder
from ganlib.data._rendered_digits import RenderedDigits
from ganlib.data._subset import only_class
from ganlib.data._tensor_loader import TensorLoader

__all__ = ["ImageFolder", "RenderedDigits", "TensorLoader", "only_class"]
