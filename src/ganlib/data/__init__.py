"""Load data sets and batches."""

from ganlib.data._image_folder import ImageFolder
from ganlib.data._map_loader import map_loader
from ganlib.data._rendered_digits import RenderedDigits
from ganlib.data._stacked_mnist import StackedMNIST
from ganlib.data._subset import only_class
from ganlib.data._tensor_loader import TensorLoader
from ganlib.data._zip_loaders import zip_loaders

__all__ = ["ImageFolder", "RenderedDigits", "StackedMNIST", "TensorLoader", "map_loader", "only_class", "zip_loaders"]
