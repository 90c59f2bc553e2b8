"""What comes from outside is made plain, or refused in one sentence."""

import decimal
import fractions
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from qbmvae_mini.checks import (
    MAX_SEED,
    check_bits,
    check_real,
    check_seed,
    check_whole,
    dense,
)

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


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.float16(0.5), fractions.Fraction(1, 2)]
)
def test_a_number_of_any_kind_becomes_a_plain_float(value):
    found = check_real("rate", value, least=0, below=1)
    assert type(found) is float
    assert json.dumps(found) == "0.5"
    assert type(check_real("rate", np.int8(3))) is float


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.bool_(True),
        None,
        "0.5",
        b"0.5",
        0.5 + 0j,
        [0.5],
        np.array([0.5]),
        decimal.Decimal("0.5"),
        float("nan"),
        np.float32("inf"),
        10**400,
    ],
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="^rate is a finite number, not "):
        check_real("rate", value)


@pytest.mark.parametrize(
    ("limits", "taken", "refused", "said"),
    [
        ({"least": 0}, 0, -1e-9, "at least 0"),
        ({"above": 0}, 1e-300, 0, "above 0"),
        ({"most": 2}, 2, 2.0001, "at most 2"),
        ({"below": 2}, 1.9999, 2, "below 2"),
        ({"least": 0, "below": 1}, 0, 1, "at least 0 and below 1"),
        ({"above": 0, "most": 1}, 1, 1.5, "above 0 and at most 1"),
    ],
)
def test_limits_are_said_with_what_was_found(limits, taken, refused, said):
    assert check_real("rate", taken, **limits) == taken
    words = f"^rate is a finite number {said}, not {refused}$"
    with pytest.raises(ValueError, match=words):
        check_real("rate", refused, **limits)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_a_whole_number_of_any_kind_becomes_a_plain_int(value):
    assert type(check_whole("n", value, 3)) is int
    assert type(check_seed(value)) is int


@pytest.mark.parametrize("value", [2, 3.0, np.float64(3), True, "3", None])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ValueError, match="^n is a whole number of at least 3"):
        check_whole("n", value, 3)


def test_seeds_are_those_of_torch():
    assert check_seed(MAX_SEED) == 2**63 - 1
    torch.Generator().manual_seed(MAX_SEED)
    with pytest.raises(ValueError, match=r"^seed is at most 2\^63 - 1, not"):
        check_seed(MAX_SEED + 1)
    with pytest.raises(ValueError, match="^seed is a whole number of at least"):
        check_seed(-1)
