"""Networks. Their layers come from factories, so a defence or a precision is not their business."""

from .precision import REAL, Precision
from .resnet import ResNet18

__all__ = ["REAL", "Precision", "ResNet18"]
