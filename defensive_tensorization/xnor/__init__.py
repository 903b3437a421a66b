"""Binary networks after Rastegari et al. 2016 (XNOR-Net), Eq. 5 of the paper."""

from .convert import binarize, binary_layer
from .layers import XnorConv1d, XnorConv2d, XnorConv3d, XnorLinear
from .sign import SIGN_GRADIENTS, sign_gradient

__all__ = [
    "SIGN_GRADIENTS",
    "XnorConv1d",
    "XnorConv2d",
    "XnorConv3d",
    "XnorLinear",
    "binarize",
    "binary_layer",
    "sign_gradient",
]
