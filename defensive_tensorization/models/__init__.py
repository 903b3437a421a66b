"""Networks. Their layers come from factories, so a defence or a precision is not their business."""

from .logmel import LogMel
from .resnet import ResNet18
from .soundnet import SoundNet5

__all__ = ["LogMel", "ResNet18", "SoundNet5"]
