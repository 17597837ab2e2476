"""Build, save, load and export complete generators and discriminators, and sample from generators."""

from ganlib.models._conditional_dcgan import conditional_dcgan
from ganlib.models._dcgan import dcgan
from ganlib.models._files import load_discriminator, load_generator, save_discriminator, save_generator
from ganlib.models._hub import from_hub, push_to_hub
from ganlib.models._mlp_gan import mlp_gan
from ganlib.models._onnx import export_onnx
from ganlib.models._pretrained import pretrained
from ganlib.models._r3gan import r3gan
from ganlib.models._sample import sample
from ganlib.models._sngan import sngan

__all__ = [
    "conditional_dcgan",
    "dcgan",
    "export_onnx",
    "from_hub",
    "load_discriminator",
    "load_generator",
    "mlp_gan",
    "pretrained",
    "push_to_hub",
    "r3gan",
    "sample",
    "save_discriminator",
    "save_generator",
    "sngan",
]
