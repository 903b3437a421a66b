"""Networks. Their layers come from factories, so a defence or a precision is not their business."""

from .resnet import ResNet18

__all__ = ["ResNet18"]
