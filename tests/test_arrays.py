"""Numbers from outside become dense tensors, and nothing else does."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from qbmvae_mini.checks import check_bits, dense

BITS = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])


def read_only():
    array = BITS.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "value",
    [
        BITS,
        BITS.tolist(),
        BITS.astype(bool),
        BITS.astype("u2"),
        BITS.astype(">f8"),
        BITS[::-1][::-1],
        BITS[:, ::-1][:, ::-1],
        read_only(),
        pd.DataFrame(BITS),
        torch.tensor(BITS, requires_grad=True),
        list(torch.tensor(BITS)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arrays_of_any_kind(value):
    found = dense("data", value)
    assert torch.equal(found.double(), torch.tensor(BITS))
    assert not found.requires_grad


def test_reversed_arrays_keep_their_order():
    assert torch.equal(dense("data", BITS[::-1]), torch.tensor(BITS).flip(0))


def test_an_array_is_copied():
    mine = BITS.copy()
    dense("data", mine).fill_(7)
    assert np.array_equal(mine, BITS)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sparse.csr_matrix(BITS), r"csr_matrix \(object\)"),
        (lambda: torch.tensor(BITS).to_sparse(), r"\(torch.sparse_coo\)"),
        (lambda: torch.tensor(BITS).to_sparse_csr(), r"\(torch.sparse_csr\)"),
        (lambda: BITS.astype(complex), r"\(complex128\)"),
        (lambda: BITS.astype(str), r"ndarray \(<U"),
        (lambda: [[0, 1], [1]], r"list \(object\)"),
        (lambda: "01", "str"),
        (lambda: None, "NoneType"),
    ],
)
def test_what_is_no_dense_array_of_numbers(make, said):
    sentence = f"^data is a dense array of numbers, not .*{said}.*; make a"
    with pytest.raises(TypeError, match=sentence):
        dense("data", make())


def test_bits_pass_and_the_first_other_number_is_named():
    check_bits("codes", torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    check_bits("codes", torch.empty(0, 3))
    for wrong in (-1.0, 0.5, float("nan")):
        words = rf"^codes: .*0 or 1, and not {wrong:g}; .*\(s \+ 1\) / 2$"
        with pytest.raises(ValueError, match=words):
            check_bits("codes", torch.tensor([[0.0, 1.0], [wrong, 7.0]]))
