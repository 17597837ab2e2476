"""Observe and control a run: checkpoints, loggers, schedules, evaluation, averages."""

from ganlib.training._callbacks._betas_schedule import BetasSchedule
from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._csv_logger import CSVLogger
from ganlib.training._callbacks._decays import cosine_decay, cosine_ramp, linear_decay
from ganlib.training._callbacks._early_stopping import EarlyStopping
from ganlib.training._callbacks._ema import EMA
from ganlib.training._callbacks._evaluate import Evaluate
from ganlib.training._callbacks._half_life import half_life_decay
from ganlib.training._callbacks._progress_bar import ProgressBar
from ganlib.training._callbacks._schedule import LearningRateSchedule, Schedule
from ganlib.training._callbacks._tensorboard_logger import TensorBoardLogger

__all__ = [
    "EMA",
    "BetasSchedule",
    "CSVLogger",
    "Checkpoint",
    "EarlyStopping",
    "Evaluate",
    "LearningRateSchedule",
    "ProgressBar",
    "Schedule",
    "TensorBoardLogger",
    "cosine_decay",
    "cosine_ramp",
    "half_life_decay",
    "linear_decay",
]
