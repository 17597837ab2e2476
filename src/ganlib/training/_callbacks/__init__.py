"""The callbacks of a run."""

from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._csv_logger import CSVLogger
from ganlib.training._callbacks._ema import EMA
from ganlib.training._callbacks._progress_bar import ProgressBar
from ganlib.training._callbacks._schedule import LearningRateSchedule, Schedule, cosine_decay, linear_decay

__all__ = [
    "EMA",
    "CSVLogger",
    "Checkpoint",
    "LearningRateSchedule",
    "ProgressBar",
    "Schedule",
    "cosine_decay",
    "linear_decay",
]
