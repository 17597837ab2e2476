"""Choose the encoder of a condition."""

from ganlib._checks import check_sizes
from ganlib._shown import shown
from ganlib.conditioning import Maps, OneHot
from ganlib.conditioning._checks import check_encoder
from ganlib.errors import ArgumentValueError
from ganlib.protocols import ConditionEncoder

__all__ = ["encoder_of"]


def encoder_of(num_classes: int | None, encoder: ConditionEncoder | None) -> ConditionEncoder | None:
    """Return the encoder of a network's condition.

    Args:
        num_classes: number of classes, or None.
        encoder: an encoder of vectors, or None.

    Returns:
        An encoder, or None for an unconditional network.

    Raises:
        ArgumentValueError: both are given, ``num_classes`` is below 1, or the encoder returns maps.
        ArgumentTypeError: the encoder is not a ConditionEncoder.
    """
    if num_classes is not None and encoder is not None:
        raise ArgumentValueError(
            f"pass num_classes (={shown(num_classes)}), or encoder (={shown(encoder)}), or neither, and not both"
        )
    if num_classes is not None:
        check_sizes(num_classes=num_classes)
        return OneHot(int(num_classes))
    if isinstance(encoder, Maps):
        raise ArgumentValueError(f"encoder (={shown(encoder)}) gives maps, but these networks take vectors")
    if encoder is not None:
        check_encoder(encoder)
    return encoder
