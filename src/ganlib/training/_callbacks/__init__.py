"""Observe and control a run: checkpoints, loggers, schedules, evaluation, averages."""

from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._csv_logger import CSVLogger
from ganlib.training._callbacks._early_stopping import EarlyStopping
from ganlib.training._callbacks._ema import EMA
from ganlib.training._callbacks._evaluate import Evaluate
from ganlib.training._callbacks._progress_bar import ProgressBar
from ganlib.training._callbacks._schedule import LearningRateSchedule, Schedule, cosine_decay, linear_decay
from ganlib.training._callbacks._tensorboard_logger import TensorBoardLogger

__all__ = [
    "EMA",
    "CSVLogger",
    "Checkpoint",
    "EarlyStopping",
    "Evaluate",
    "LearningRateSchedule",
    "ProgressBar",
    "Schedule",
    "TensorBoardLogger",
    "cosine_decay",
    "linear_decay",
]
