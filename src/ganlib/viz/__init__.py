"""Draw the images of a run: grids of samples, the training as a GIF or a timeline, and curves of the metrics."""

from ganlib.protocols import Callback
from ganlib.viz._grid import image_grid
from ganlib.viz._loss_curves import LossCurves
from ganlib.viz._sample_grid import SampleGrid
from ganlib.viz._timeline import Timeline
from ganlib.viz._training_gif import TrainingGif

__all__ = ["Callback", "LossCurves", "SampleGrid", "Timeline", "TrainingGif", "image_grid"]
