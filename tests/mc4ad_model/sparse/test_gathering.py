# SPDX-License-Identifier: Apache-2.0
"""`mc4ad_model.sparse.gathering`, against torch's own operations."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from mc4ad_model.sparse import gather_rows, reduce_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "points"), [(7, 200), (300, 200), (1, 1)])
def test_values_and_gradients_have_the_bits_of_index_select(rows, points, dtype):
    generator = torch.Generator().manual_seed(0)
    place = torch.randint(rows, (points,), generator=generator)
    gradient = torch.randn(points, 33, generator=generator, dtype=dtype)
    features = torch.randn(rows, 33, generator=generator, dtype=dtype, requires_grad=True)
    found, expected = gather_rows(features, place), features.index_select(0, place)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(output, features, gradient) for output in (found, expected)]
    assert torch.equal(gradients[0][0], gradients[1][0])


def test_a_gradient_that_is_not_contiguous():
    features = torch.ones(3, 4, requires_grad=True)
    gather_rows(features, torch.tensor([2, 0, 2])).t().cumsum(0).sum().backward()
    expected = torch.tensor([4.0, 3, 2, 1])
    assert torch.equal(features.grad, torch.stack([expected, 0 * expected, 2 * expected]))


def test_means_of_rows_and_zeros_where_there_is_none():
    values, rows = torch.tensor([[1.0], [5.0], [3.0]]), torch.tensor([0, 2, 0])
    assert reduce_rows(values, rows, 3, "mean").tolist() == [[2.0], [0.0], [5.0]]
    assert reduce_rows(values, rows, 3, "sum").tolist() == [[4.0], [0.0], [5.0]]
