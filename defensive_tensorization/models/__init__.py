"""Networks. Their layers come from factories, so a defence or a precision is not their business."""

from .convnet import ConvNet
from .logmel import LogMel
from .precision import REAL, Precision
from .resnet import ResNet18
from .soundnet import SoundNet5

__all__ = ["REAL", "ConvNet", "LogMel", "Precision", "ResNet18", "SoundNet5"]
