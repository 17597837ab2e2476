"""Train GANs and other adversarial games: trainers, the training loop, and callbacks."""

from ganlib.protocols import Callback, Run, Trainer
from ganlib.training._adversarial_trainer import AdversarialTrainer
from ganlib.training._callbacks import (
    EMA,
    BetasSchedule,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    Evaluate,
    LearningRateSchedule,
    ProgressBar,
    Schedule,
    TensorBoardLogger,
    cosine_decay,
    cosine_ramp,
    half_life_decay,
    linear_decay,
)
from ganlib.training._fast_settings import fast_settings
from ganlib.training._game_trainer import GameTrainer, Player
from ganlib.training._image_pool import ImagePool
from ganlib.training._loop._fit import fit

__all__ = [
    "EMA",
    "AdversarialTrainer",
    "BetasSchedule",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Evaluate",
    "GameTrainer",
    "ImagePool",
    "LearningRateSchedule",
    "Player",
    "ProgressBar",
    "Run",
    "Schedule",
    "TensorBoardLogger",
    "Trainer",
    "cosine_decay",
    "cosine_ramp",
    "fast_settings",
    "fit",
    "half_life_decay",
    "linear_decay",
]
