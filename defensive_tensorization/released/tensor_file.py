"""The safetensors format: named tensors in a file that holds no code.

    8 bytes   length N of the header, little-endian
    N bytes   JSON: name -> {"dtype", "shape", "data_offsets": [begin, end]}
    the rest  the tensors' bytes, row-major, without gaps

Files are byte for byte those of the safetensors package, which need not be installed.
"""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError

_TYPES = {  # in the order in which the package writes them
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {kind: code for code, kind in _TYPES.items()}


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a file: ordered by type and name, as the package does.

    Raises:
        UsageError: for a tensor of a type that the format has no code for.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _CODES:
            raise UsageError(f"{name} is {tensor.dtype}: save one of {', '.join(_TYPES)}")
    places = list(_TYPES.values())
    in_order = sorted(tensors.items(), key=lambda at: (places.index(at[1].dtype), at[0]))
    header: dict[str, Any] = {}
    data = bytearray()
    for name, tensor in in_order:
        begin = len(data)
        data += _bytes(tensor)
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, len(data)],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


def unpacked(content: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors of a file's bytes; `where` names the file in an error.

    Raises:
        UsageError: for bytes that are no such file, whole and without gaps.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        if len(content) < 8 + size:
            raise ValueError("it is cut short")
        header = json.loads(content[8 : 8 + size])
        header.pop("__metadata__", None)
        data = memoryview(content)[8 + size :]
        covered, found = 0, {}
        for name, about in sorted(header.items(), key=lambda at: at[1]["data_offsets"]):
            begin, end = about["data_offsets"]
            kind, shape = _TYPES[about["dtype"]], [int(n) for n in about["shape"]]
            size = torch.empty(0, dtype=kind).element_size()
            if begin != covered or end > len(data) or end - begin != prod(shape) * size:
                raise ValueError(f"{name} does not fill its place")
            found[name] = _tensor(bytes(data[begin:end]), kind, shape)
            covered = end
        if covered != len(data):
            raise ValueError("bytes are left over")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(f"{error}".split())
        raise UsageError(
            f"{where} is no safetensors file ({reason}): fetch it again from where it came"
        ) from error
    return found


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _tensor(raw: bytes, kind: torch.dtype, shape: list[int]) -> Tensor:
    flat = torch.frombuffer(bytearray(raw), dtype=kind) if raw else torch.empty(0, dtype=kind)
    return flat.reshape(shape)
