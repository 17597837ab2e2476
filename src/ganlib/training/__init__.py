"""Training: Algorithm 1 as a trainer, the loop that drives any trainer, and the callbacks of a run."""

from ganlib.protocols import Callback, Run, Trainer
from ganlib.training._adversarial_trainer import AdversarialTrainer
from ganlib.training._balance import adaptive_weight, delayed_weight
from ganlib.training._checkpoint import Checkpoint
from ganlib.training._csv_logger import CSVLogger
from ganlib.training._ema import EMA
from ganlib.training._fast_settings import fast_settings
from ganlib.training._files import load_plain, save_plain
from ganlib.training._fit import fit
from ganlib.training._progress_bar import ProgressBar
from ganlib.training._schedule import LearningRateSchedule, cosine_decay, linear_decay

__all__ = [
    "EMA",
    "AdversarialTrainer",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "LearningRateSchedule",
    "ProgressBar",
    "Run",
    "Trainer",
    "adaptive_weight",
    "cosine_decay",
    "delayed_weight",
    "fast_settings",
    "fit",
    "linear_decay",
    "load_plain",
    "save_plain",
]
