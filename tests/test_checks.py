"""What comes from outside is made plain, or refused in one sentence."""

import datetime
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
    check_names,
    check_real,
    check_seed,
    check_switch,
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


@pytest.mark.parametrize("value", [True, np.True_, False, np.False_])
def test_a_switch_becomes_a_plain_bool(value):
    assert check_switch("progress", value) is bool(value)


@pytest.mark.parametrize("value", [1, "no", None, np.int8(0)])
def test_what_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(TypeError, match="^progress is True or False, not"):
        check_switch("progress", value)


def test_seeds_are_those_of_torch():
    assert check_seed(MAX_SEED) == 2**63 - 1
    torch.Generator().manual_seed(MAX_SEED)
    with pytest.raises(ValueError, match=r"^seed is at most 2\^63 - 1, not"):
        check_seed(MAX_SEED + 1)
    with pytest.raises(ValueError, match="^seed is a whole number of at least"):
        check_seed(-1)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (np.int8(1), "1"),
        (np.float32(0.1), "0.1"),
        (0.1, "0.1"),
        (2**53 + 1, "9007199254740993"),
        (1e17, "100000000000000000"),
        (float("inf"), "inf"),
        (fractions.Fraction(1, 2), "1/2"),
        (True, "True"),
        (np.bool_(True), "True"),
        ("1.0", "1.0"),
        ("", ""),
        (np.str_("lib1"), "lib1"),
        (b"lib1", "lib1"),
        (datetime.date(2026, 11, 30), "2026-11-30"),
    ],
)
def test_one_value_has_one_name(value, name):
    (found,) = check_names("lane", [value])
    assert (found, type(found)) == (name, str)
    (found,) = check_names("lane", np.array([value], dtype=object))
    assert (found, type(found)) == (name, str)


@pytest.mark.parametrize("dtype", ["i1", "u8", "f4", ">f8", "Int64", "Float32"])
def test_numbers_of_any_width_are_named_alike(dtype):
    values = pd.Series([2, 1, 2]).astype(dtype)
    assert list(check_names("lane", values)) == ["2", "1", "2"]


def test_float32_is_named_by_its_own_digits():
    for values in (np.float32([0.1]), pd.Categorical(np.float32([0.1]))):
        assert list(check_names("lane", values)) == ["0.1"]


def test_dates_are_named_alike_in_a_column_and_alone():
    moment = pd.Timestamp("2026-11-30 18:25")
    column, alone = pd.Series([moment]), np.array([moment], dtype=object)
    assert list(check_names("day", column)) == ["2026-11-30 18:25:00"]
    assert list(check_names("day", alone)) == ["2026-11-30 18:25:00"]


def test_true_and_one_are_told_apart_in_any_order():
    for values in ([True, 1], [1, True]):
        found = check_names("lane", np.array(values, dtype=object))
        assert set(found) == {"True", "1"}


@pytest.mark.parametrize("values", [[1, "1"], [b"a", "a"], [True, "True"]])
def test_two_values_never_share_a_name(values):
    with pytest.raises(ValueError, match="^lane holds .*not the same but are"):
        check_names("lane", np.array(values, dtype=object))


@pytest.mark.parametrize(
    "values",
    [
        ["a", None],
        [1.0, float("nan")],
        pd.array([1, None], dtype="Int64"),
        pd.array(["a", None], dtype="string"),
        pd.Categorical(["a", None]),
        [pd.NaT, pd.Timestamp(0)],
    ],
)
def test_a_missing_name_is_refused(values):
    with pytest.raises(ValueError, match="^lane is missing for 1 of 2; fill"):
        check_names("lane", values)


@pytest.mark.parametrize("value", [object(), ("a",), ["a"], 1j, {1: 2}])
def test_what_cannot_be_a_name_is_refused(value):
    values = np.empty(1, dtype=object)
    values[0] = value
    with pytest.raises(TypeError, match=r"^lane holds .* astype\(str\)"):
        check_names("lane", values)


def test_names_are_one_a_row():
    with pytest.raises(ValueError, match="^lane has 2 dimensions"):
        check_names("lane", [["a"], ["b"]])
