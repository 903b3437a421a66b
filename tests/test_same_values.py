"""A comparison by bytes says what torch.equal says."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from defensive_tensorization.system.same_values import same_values

LAYOUTS = {
    "contiguous": lambda: torch.rand(4, 3, 2),
    "channels last": lambda: torch.rand(4, 3, 2).movedim(1, -1).contiguous().movedim(-1, 1),
    "with gaps": lambda: torch.rand(4, 6, 2)[:, ::2],
    "part of a storage": lambda: torch.rand(5, 3, 2)[1:],
    "expanded": lambda: torch.rand(4, 1, 2).expand(4, 3, 2),
    "parameter": lambda: nn.Parameter(torch.rand(4, 3, 2)),
    "whole numbers": lambda: torch.randint(9, (4, 3, 2)),
}


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 23))
def test_one_other_value_is_noticed_wherever_it_lies(layout: str, place: int) -> None:
    tensor: Tensor = LAYOUTS[layout]()
    copy = tensor.detach().clone()
    assert same_values(tensor, copy) and torch.equal(tensor, copy)
    at = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), tensor.shape))
    tensor.data[at] += 1
    assert not same_values(tensor, copy) and not torch.equal(tensor, copy)


def test_another_type_or_shape_is_another_value() -> None:
    zeros = torch.zeros(4, 3)
    assert not same_values(zeros, torch.zeros(4, 3, dtype=torch.float64))
    assert not same_values(zeros, torch.zeros(3, 4))
    assert not same_values(zeros.to("meta"), zeros)
    assert same_values(torch.zeros(0, 3), torch.zeros(0, 3))
