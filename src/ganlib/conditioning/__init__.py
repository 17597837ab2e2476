"""Conditional GANs: encoders turn a condition into features, and adapters feed the features to any network."""

from ganlib.conditioning._classes import ClassEmbedding, OneHot
from ganlib.conditioning._concat import ConcatChannels, ConcatFeatures, ConcatLatent
from ganlib.conditioning._film import ConditionalBatchNorm, FiLM
from ganlib.conditioning._heads import AuxiliaryClassifierHead, Projection
from ganlib.conditioning._unconditional import Unconditional
from ganlib.conditioning._vectors import Maps, TagEmbedding, VectorEmbedding
from ganlib.protocols import ConditionEncoder

__all__ = [
    "AuxiliaryClassifierHead",
    "ClassEmbedding",
    "ConcatChannels",
    "ConcatFeatures",
    "ConcatLatent",
    "ConditionEncoder",
    "ConditionalBatchNorm",
    "FiLM",
    "Maps",
    "OneHot",
    "Projection",
    "TagEmbedding",
    "Unconditional",
    "VectorEmbedding",
]
