"""Random numbers of 16 bits and 7 shared ones: how far from uniform?"""

import math
import time

import numpy as np
import pytest
import torch
from oracles import KINDS, judge, random_machine

from qbmvae_mini.machines import (
    BoltzmannMachine,
    QuantumBoltzmannMachine,
    graphs,
)
from qbmvae_mini.machines.graphs import Edges
from qbmvae_mini.samplers import HeatBath, by_units, random_bits, sweep
from qbmvae_mini.samplers.random_numbers import (
    FastWords,
    TorchWords,
    Uniforms,
    grid_offset,
    in_unit_interval,
    uniforms,
)

LIKE = torch.zeros(())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_midpoint_of_the_grid_comes_up_equally_often(dtype):
    """All 2^16 words with all 2^7 shared numbers: each (2 k + 1) / 2^24 once.

    So no comparison with a probability is biased by more than 2^-24.
    """
    own = torch.arange(-(2**15), 2**15).to(torch.int16)
    values = [
        in_unit_interval(own.to(dtype), grid_offset(torch.tensor(float(k))))
        for k in range(128)
    ]
    found = torch.cat(values).double().sort().values
    k = torch.arange(2**23, dtype=torch.float64)
    assert torch.equal(found, (2 * k + 1) / 2**24)


def test_sixteen_bits_alone_would_be_biased():
    """What the shared bits are for: a probability of 2^-18."""
    own = torch.arange(-(2**15), 2**15).to(torch.int16)
    alone = in_unit_interval(
        own.to(torch.float64), grid_offset(torch.tensor(64.0))
    )
    assert (alone < 2.0**-18).double().mean() == 0  # and never 2^-18
    shares = [
        (
            in_unit_interval(
                own.to(torch.float64), grid_offset(torch.tensor(float(k)))
            )
            < 2.0**-18
        )
        for k in range(128)
    ]
    assert torch.stack(shares).double().mean() == 2.0**-18


def test_shared_bits_hardly_couple_two_draws():
    """Covariance of two bits given by enumeration, for many p, q."""
    own = torch.arange(-(2**15), 2**15).to(torch.int16)
    u = torch.stack(
        [
            in_unit_interval(
                own.to(torch.float64), grid_offset(torch.tensor(float(k)))
            )
            for k in range(128)
        ]
    )
    p = torch.rand(20, dtype=torch.float64, generator=torch.Generator())
    on = torch.stack([(u < p_i).double().mean(1) for p_i in p])  # (20, 128)
    covariance = on @ on.T / 128 - on.mean(1)[:, None] * on.mean(1)
    assert covariance.abs().max() <= 2.0**-34 + 1e-15
    assert covariance.abs().max() > 0


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (5, 7), (1000, 33)])
def test_any_shape_is_filled_and_open_at_both_ends(shape):
    u = uniforms(shape, like=LIKE, generator=torch.Generator().manual_seed(1))
    assert u.shape == shape
    assert u.dtype == torch.float32
    assert 0 < u.min() <= u.max() < 1


@pytest.mark.parametrize("p", [2.0**-18, 0.01, 0.3, 0.5, 0.999])
def test_draws_agree_with_the_probability(p):
    generator = torch.Generator().manual_seed(2)
    calls, size = 400, 10_000
    hits = torch.tensor(
        [
            (uniforms((size,), like=LIKE, generator=generator) < p).sum()
            for _ in range(calls)
        ]
    ).double()
    error = (p * (1 - p) / (calls * size)) ** 0.5
    # Calls share bits, so a call varies a little more where p is tiny.
    error = max(error, float(hits.std()) / size / calls**0.5)
    assert abs(hits.mean() / size - p) < 4 * error


def test_neighbours_within_a_word_and_calls_are_uncorrelated():
    generator = torch.Generator().manual_seed(3)
    u = [uniforms((2**18,), like=LIKE, generator=generator) for _ in range(2)]
    first, second = (x.double() - 0.5 for x in u)
    floor = 5 / 12 / 2**9  # five standard errors of a mean product
    for lag in range(1, 9):
        assert (first[lag:] * first[:-lag]).mean().abs() < floor
    assert (first * second).mean().abs() < floor
    assert abs(first.square().mean() - 1 / 12) < floor


@pytest.mark.parametrize(
    "words",
    [FastWords(4), TorchWords(torch.device("cpu"), torch.Generator())],
    ids=lambda words: type(words).__name__,
)
def test_random_words_are_fair_in_every_bit_and_go_on_from_their_state(words):
    n = 2**14
    state = words.get_state()
    drawn = words.draw(n)
    bits = drawn[:, None] >> torch.arange(64) & 1
    assert abs(bits.double().mean(0) - 0.5).max() < 5 / 2 / n**0.5
    table = torch.arange(128.0)
    first = [float(words.choice(table)) for _ in range(20)]
    words.set_state(state)
    assert torch.equal(words.draw(n), drawn)
    assert [float(words.choice(table)) for _ in range(20)] == first
    chosen = [float(words.choice(table)) for _ in range(4000)]
    assert set(chosen) == set(table.tolist())


def test_draws_that_are_made_together_are_fresh_numbers_each():
    """More draws than memory, in two shapes, all of them uniform."""
    shapes = [(300, 400), (7,)]
    source = Uniforms(FastWords(1), shapes, LIKE)
    rows = [tuple(part.clone() for part in draw) for draw in source.draws(5)]
    assert [tuple(part.shape for part in row) for row in rows] == [
        ((300, 400), (7,))
    ] * 5
    everything = torch.cat([part.flatten() for row in rows for part in row])
    assert 0 < everything.min() <= everything.max() < 1
    assert abs(everything.double().mean() - 0.5) < 5 / (12 * 6e5) ** 0.5
    repeated = [torch.equal(a[0], b[0]) for a in rows for b in rows]
    assert sum(repeated) == 5  # each equals itself alone
    again = Uniforms(FastWords(1), shapes, LIKE)
    assert all(
        torch.equal(a, b)
        for new, old in zip(again.draws(5), rows, strict=True)
        for a, b in zip(new, old, strict=True)
    )


def test_a_seed_gives_the_same_numbers():
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return uniforms((9,), like=LIKE, generator=generator)

    assert torch.equal(draw(4), draw(4))
    assert not torch.equal(draw(4), draw(5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "beta",
    [
        -0.5,
        math.nan,
        math.inf,
        "1",
        None,
        torch.ones(4),
        torch.ones(3, 1),
        -torch.ones(4, 1),
        torch.full((4, 1), math.nan),
    ],
    ids=str,
)
def test_a_beta_that_is_none_is_refused_and_z_is_left_alone(beta, kind):
    machine = random_machine(kind)
    z = random_bits(4, machine.n_units)
    before = z.clone()
    with pytest.raises(ValueError, match="beta is a finite number of at least"):
        sweep(machine, z, beta)
    assert torch.equal(z, before)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda z: z[:, 1:], r"\(4, 7\) in torch.float32"),
        (lambda z: torch.cat([z, z], 1), r"\(4, 16\)"),
        (lambda z: z[0], r"\(8,\)"),
        (lambda z: z.long(), "torch.int64"),
        (lambda z: z.double(), "torch.float64"),
        (lambda z: z.numpy(), "ndarray"),
        (lambda z: z.tolist(), "list"),
    ],
)
def test_z_is_a_tensor_of_states_like_the_machine(spoil, found):
    machine = random_machine("rbm")
    z = spoil(random_bits(4, 8))
    with pytest.raises(ValueError, match=rf"shape \(chains, 8\).*{found}"):
        sweep(machine, z)


def test_a_sweep_wants_a_classical_machine_whose_weights_are_numbers():
    machine, z = random_machine("dense"), random_bits(4, 6)
    with pytest.raises(TypeError, match="a sweep knows classical machines"):
        sweep(QuantumBoltzmannMachine(machine, 1.0), z)
    with pytest.raises(TypeError, match="a sweep wants a machine"):
        sweep(None, z)
    machine.bias.data[0] = math.nan
    with pytest.raises(ValueError, match="machine's bias holds NaN"):
        sweep(machine, z)


@pytest.mark.parametrize("sweeps", [0, -1, 1.5, True])
def test_no_sweeps_are_refused(sweeps):
    with pytest.raises(ValueError, match="sweeps is a whole number"):
        sweep(random_machine("rbm"), random_bits(4, 8), sweeps=sweeps)


def test_a_heat_bath_holds_the_weights_of_the_moment_until_it_is_renewed():
    for kind in KINDS:
        machine = random_machine(kind)
        z = random_bits(400, machine.n_units)
        bath = HeatBath(machine, z)
        for weight in machine.parameters():
            weight.data.zero_()
        next(machine.parameters()).data.fill_(50.0)
        bath.sweep()
        first = z[:, 0].mean()
        assert first < 1
        bath.renew(machine)
        bath.sweep()
        assert z[:, 0].mean() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_swept_to_the_same_bits_however_they_lie(kind):
    machine = random_machine(kind)
    rows = random_bits(50, machine.n_units).contiguous()
    columns = by_units(rows)
    assert by_units(columns).data_ptr() == columns.data_ptr()
    for z in (rows, columns):
        HeatBath(machine, z, generator=FastWords(3)).sweep(0.7, sweeps=3)
    assert torch.equal(rows, columns)


def annealer_like(n_units, degree, seed=0):
    """A random graph of `n_units * degree / 2` edges."""
    rng = np.random.default_rng(seed)
    edges = set()
    while len(edges) < n_units * degree // 2:
        i, j = sorted(rng.integers(0, n_units, 2).tolist())
        if i != j:
            edges.add((i, j))
    return BoltzmannMachine(n_units, sorted(edges))


def test_fields_by_edges_are_those_of_the_whole_matrix():
    machine = annealer_like(300, 6)
    torch.nn.init.normal_(machine.bias)
    torch.nn.init.normal_(machine.coupling)
    z = random_bits(5, 300)
    whole = machine.bias + z @ machine.coupling_matrix()
    by_edges = 0
    for step in machine.conditionals():
        fields = step.fields(z.T.contiguous())
        if step.inner is None:
            by_edges += isinstance(step.weight, Edges)
            torch.testing.assert_close(fields.now().T, whole[:, step.target])
    assert by_edges >= 4


@pytest.mark.parametrize("share", [0.0, 2.0])  # none by edges, all that can be
def test_a_sparse_machine_has_its_law_either_way(share, monkeypatch):
    monkeypatch.setattr(graphs, "DENSE", share)
    monkeypatch.setattr(graphs, "AT_ONCE", 1)
    machine = random_machine("sparse")
    kinds = {type(step.weight) for step in machine.conditionals()}
    assert kinds == {Edges if share else torch.Tensor}
    z = random_bits(100_000, 8, generator=torch.Generator().manual_seed(1))
    sweep(machine, z, sweeps=30, generator=FastWords(2))
    verdict = judge(z, machine)
    assert verdict.accepted, verdict


def test_a_machine_of_an_annealers_size_is_cheap_to_make_and_to_sweep():
    """A dense matrix of it would hold 23 million numbers, 92 MB."""
    machine = annealer_like(4800, 14)
    held = sum(
        tensor.numel()
        for step in machine.conditionals()
        for tensor in (*step.weight,)
        if isinstance(step.weight, Edges)
    )
    assert held < 4 * 2 * 33_600
    z = random_bits(128, 4800)
    start = time.process_time()
    sweep(machine, z)
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_renewed_weights_are_those_of_new_sweeps(kind):
    """Memory is used again; the weights in it are the machine's of now."""
    machine = random_machine(kind)
    starts = [
        by_units(random_bits(5, machine.n_units, like=machine.bias))
        for _ in "12"
    ]
    starts[1].copy_(starts[0])
    used = HeatBath(machine, starts[0], generator=FastWords(3))
    with torch.no_grad():
        for weight in machine.parameters():
            weight.normal_()
    used.renew(machine)
    used.sweep(sweeps=5)
    HeatBath(machine, starts[1], generator=FastWords(3)).sweep(sweeps=5)
    assert torch.equal(*starts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_holds_the_states_after_each_sweep(kind):
    machine = random_machine(kind)
    betas = [0.0, 0.5, 0.9]
    starts = [random_bits(5, machine.n_units, like=machine.bias) for _ in "12"]
    starts[1].copy_(starts[0])
    at_once, alone = (
        HeatBath(machine, z, generator=FastWords(3)) for z in starts
    )
    path = at_once.anneal(betas)
    assert path.shape == (3, 5, machine.n_units)
    assert torch.equal(path[-1], starts[0])
    # The first ones by a walk that stops there: its words are the same.
    shorter = alone.anneal(betas[:1])
    assert torch.isin(shorter, torch.tensor([0.0, 1.0])).all()
    assert torch.equal(shorter[0], starts[1])
