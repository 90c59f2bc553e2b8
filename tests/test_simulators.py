"""Simulated counts follow the fitted law, and their truth is the one told."""

import functools
import itertools

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats

from qbmvae_mini.cells import datasets, simulators
from qbmvae_mini.cells.reading import read_cells
from qbmvae_mini.cells.simulators import (
    PATH,
    TREE,
    fit_types,
    half_adders,
    path_shares,
    simulate_batches,
    simulate_path,
    simulate_programs,
    simulate_tree,
    split_into_twins,
)
from qbmvae_mini.machines import BoltzmannMachine
from qbmvae_mini.samplers import ExactSampler

SIMULATORS = [simulate_batches, simulate_path, simulate_tree]
N_CELLS, N_GENES = 12_000, 30

#: Fixed seeds, some hundred tests: an honest one is refused once in a while
#: at 0.01, and never at this.
LEAST_P = 1e-5


@functools.cache
def simulated(simulate):
    return simulate(N_CELLS, N_GENES, seed=3)


def types_of(simulate):
    stops = {
        simulate_path: PATH,
        simulate_tree: (*PATH[:2], "alpha", "beta"),
    }
    return stops.get(simulate)


def told_shares(simulate, adata):
    """Shares of the counts by the truth that comes with the cells."""
    fit = fit_types(adata.n_vars, types_of(simulate))
    if simulate is simulate_batches:
        row = dict(zip(fit.types, fit.shares, strict=True))
        shares = np.stack([row[name] for name in adata.obs["cell_type"]])
        shift = adata.var[[f"shift_{b}" for b in "ABC"]].to_numpy().T
        shares = shares * np.exp(shift[adata.obs["batch"].cat.codes])
    else:
        shares = [told_on_the_way(fit, *cell) for cell in way(adata)]
        shares = np.stack(shares)
    return shares / shares.sum(1, keepdims=True)


def way(adata):
    """Time and stops of each cell."""
    branch = adata.obs.get("branch", pd.Series("", adata.obs_names))
    for time, name in zip(adata.obs["time"], branch, strict=True):
        on_tree = {"trunk": TREE["left"], **TREE}
        yield time, on_tree.get(name, PATH)


def told_on_the_way(fit, time, stops):
    """Between two stops, the weighted geometric mean of their shares."""
    last = min(int(time * (len(stops) - 1)), len(stops) - 2)
    on = time * (len(stops) - 1) - last
    here, there = (fit.types.index(name) for name in stops[last : last + 2])
    return fit.shares[here] ** (1 - on) * fit.shares[there] ** on


def worst_fit(x, m, r):
    """Smallest p of means, zeros and whole law of some genes, and variance.

    The whole law is tested through its own distribution function, which turns
    counts (with noise that breaks ties) into uniform numbers.
    """
    z = (x - m).sum(0) / np.sqrt((m + m**2 / r).sum(0))
    p_zero = (r / (r + m)) ** r
    zeros = ((x == 0) - p_zero).sum(0)
    z_zero = zeros / np.sqrt((p_zero * (1 - p_zero)).sum(0) + 1e-9)
    noise = np.random.default_rng(0).uniform(size=x.shape)
    law = stats.nbinom(r, r / (r + m))
    uniform = law.cdf(x - 1) + noise * law.pmf(x)
    p = [stats.kstest(column, "uniform").pvalue for column in uniform.T]
    p += [2 * stats.norm.sf(np.abs(v)).min() for v in (z, z_zero)]
    ratio = ((x - m) ** 2).sum(0) / (m + m**2 / r).sum(0)
    return min(p), np.median(ratio)


# The fit


def test_the_fit_is_the_formula_by_loops():
    fit = fit_types(12, ("delta", "ductal", "acinar"))
    adata = datasets.load_pancreas()
    adata = adata[adata.obs["cell_type"].isin(fit.types)]
    x = adata[:, fit.genes].X.toarray().astype(float)
    label = adata.obs["cell_type"].to_numpy(str)
    library = x.sum(1)
    assert np.array_equal(np.sort(fit.library), np.sort(library))
    average = library.mean() * x.sum(0) / x.sum()
    for name, share, often in zip(
        fit.types, fit.shares, fit.frequency, strict=True
    ):
        mine = label == name
        total = x[mine].sum(0) + average
        np.testing.assert_allclose(share, total / total.sum())
        assert often == pytest.approx(mine.mean())
    of_type = dict(zip(fit.types, fit.shares, strict=True))
    for gene in range(12):
        above = below = 0.0
        for i in range(len(x)):
            m = library[i] * of_type[label[i]][gene]
            above += (x[i, gene] - m) ** 2 - m
            below += m**2
        assert fit.r[gene] == pytest.approx(below / above)


def test_genes_are_those_with_the_largest_mean_share():
    fit = fit_types(20)
    adata = datasets.load_pancreas()
    mean_share = np.zeros(adata.n_vars)
    for name in fit.types:
        counts = adata[adata.obs["cell_type"] == name].X.sum(0).A1
        mean_share += counts / counts.sum() / len(fit.types)
    expected = adata.var_names[np.argsort(-mean_share)[:20]]
    assert list(fit.genes) == list(expected)
    sizes = adata.obs["cell_type"].value_counts()
    assert set(fit.types) == set(sizes.index[sizes >= 50])


def test_a_known_law_comes_back(monkeypatch):
    """The moments recover shares and dispersions that made the counts.

    No gene makes up much of a cell here: the library holds its noise too.
    """
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(100, 3.0), 2)
    r = rng.choice([0.5, 1.0, 4.0, 1e9], 100)
    label = np.repeat([0, 1], 3000)
    library = rng.integers(1000, 3000, len(label))
    m = library[:, None] * shares[label]
    adata = ad.AnnData(
        sparse.csr_matrix(rng.negative_binomial(r, r / (r + m)), dtype="f4"),
        obs={"cell_type": pd.Categorical(np.array(["a", "b"])[label])},
    )
    monkeypatch.setattr(datasets, "load_pancreas", lambda: adata)
    fit = fit_types(100, ("a", "b"))
    order = np.argsort(fit.genes.astype(int))
    np.testing.assert_allclose(fit.shares[:, order], shares, rtol=0.15)
    for value in (0.5, 1.0, 4.0):
        found = np.median(fit.r[order][r == value])
        assert found == pytest.approx(value, rel=0.1)
    assert fit.r[order][r > 4].min() > 30  # Poisson, for all that is seen
    assert fit.r.max() <= 1000


# The law of the counts


@pytest.mark.parametrize("simulate", SIMULATORS)
def test_counts_follow_the_fitted_law(simulate):
    """Means, zeros, variance and whole law; and no other law is accepted."""
    adata = simulated(simulate)
    x, r = adata.X.toarray().astype(float), adata.var["r"].to_numpy()
    assert np.array_equal(r, fit_types(N_GENES, types_of(simulate)).r)
    library = adata.obs["library"].to_numpy()[:, None]
    m = library * told_shares(simulate, adata)
    p, ratio = worst_fit(x, m, r)
    assert p > LEAST_P
    assert abs(ratio - 1) < 0.1
    assert worst_fit(x, m, 1.3 * r)[0] < LEAST_P
    assert worst_fit(x, 1.05 * m, r)[0] < LEAST_P


def test_each_type_has_its_own_means_and_zeros():
    adata = simulated(simulate_batches)
    x, r = adata.X.toarray().astype(float), adata.var["r"].to_numpy()
    library = adata.obs["library"].to_numpy()[:, None]
    m = library * told_shares(simulate_batches, adata)
    for name in adata.obs["cell_type"].unique():
        mine = (adata.obs["cell_type"] == name).to_numpy()
        assert worst_fit(x[mine], m[mine], r)[0] > LEAST_P, name


@pytest.mark.parametrize("simulate", SIMULATORS)
def test_depth_is_that_of_the_real_cells(simulate):
    adata = simulated(simulate)
    fit = fit_types(N_GENES, types_of(simulate))
    library = adata.obs["library"]
    values, counts = np.unique(fit.library, return_counts=True)
    assert set(library) <= set(values)
    found = library.value_counts().reindex(values, fill_value=0)
    expected = N_CELLS * counts / counts.sum()
    assert stats.chisquare(found, expected).pvalue > LEAST_P
    # A cell's sum has this mean, also where batches shift the shares.
    total = adata.X.sum(1).A1
    assert total.mean() == pytest.approx(library.mean(), rel=0.03)
    assert stats.spearmanr(total, library).statistic > 0.5


@pytest.mark.parametrize("simulate", SIMULATORS)
def test_depth_tells_nothing_of_the_truth(simulate):
    obs = simulated(simulate).obs
    for truth in {"cell_type", "batch", "branch"} & set(obs):
        groups = [g["library"] for _, g in obs.groupby(truth, observed=True)]
        assert stats.kruskal(*groups).pvalue > LEAST_P
    if "time" in obs:
        assert stats.spearmanr(obs["time"], obs["library"]).pvalue > LEAST_P


# Batches


def test_types_have_their_frequency_and_batches_are_apart_from_them():
    obs, fit = simulated(simulate_batches).obs, fit_types(N_GENES)
    counts = pd.crosstab(obs["cell_type"], obs["batch"])
    found = counts.sum(1)[list(fit.types)]
    expected = N_CELLS * fit.frequency
    assert stats.chisquare(found, expected).pvalue > LEAST_P
    assert stats.chisquare(counts.sum(0)).pvalue > LEAST_P
    assert stats.chi2_contingency(counts).pvalue > LEAST_P


@pytest.mark.parametrize("other", ["B", "C"])
def test_the_shift_of_a_batch_is_recovered(other):
    """From the counts of one type alone, up to a constant of the scaling."""
    adata = simulated(simulate_batches)
    beta = adata[adata.obs["cell_type"] == "beta"]
    sums = beta.to_df().groupby(beta.obs["batch"], observed=True).sum()
    enough = (sums > 300).all()
    found = np.log(sums.loc[other] / sums.loc["A"])
    told = adata.var[f"shift_{other}"] - adata.var["shift_A"]
    error = (found - told)[enough]
    assert enough.sum() > 15
    assert error.std() < 0.1 < 0.5 < told.std()
    assert (found + told)[enough].std() > 0.5


def test_shifts_are_gaussian_and_batches_differ():
    var = simulate_batches(3000, 1500, seed=0).var
    shifts = var[[f"shift_{b}" for b in "ABC"]].to_numpy()
    p = [stats.kstest(s, stats.norm(0, 0.5).cdf).pvalue for s in shifts.T]
    assert min(p) > LEAST_P
    apart = np.corrcoef(shifts.T)[np.triu_indices(3, 1)]
    assert np.abs(apart).max() < 0.15


# Path and tree


def test_a_path_passes_through_its_types():
    fit = fit_types(50, PATH)
    stops = path_shares(fit, PATH, np.linspace(0, 1, 4))
    for name, share in zip(PATH, stops, strict=True):
        np.testing.assert_allclose(share, fit.shares[fit.types.index(name)])
    middle = path_shares(fit, PATH, [1 / 6])[0]
    between = np.sqrt(stops[0] * stops[1])
    np.testing.assert_allclose(middle, between / between.sum())


@pytest.mark.parametrize("stops", [PATH, TREE["left"], TREE["right"]])
def test_a_path_is_continuous(stops):
    """A thousandth of time moves no share by more than its steepest line."""
    fit = fit_types(200, (*PATH, "alpha"))
    time = np.linspace(0, 1, 1001)
    logs = np.log(path_shares(fit, stops, time))
    at_stops = np.log(path_shares(fit, stops, np.linspace(0, 1, len(stops))))
    slope = np.abs(np.diff(at_stops, axis=0)).max() * (len(stops) - 1)
    # The common scale moves at most as fast as the fastest share.
    assert np.abs(np.diff(logs, axis=0)).max() < 2.1 * slope / 1000
    assert np.ptp(logs, axis=0).max() > 1


def test_both_branches_start_where_the_trunk_ends():
    fit = fit_types(50, (*PATH[:2], "alpha", "beta"))
    before = np.linspace(0, 0.5, 11)
    left, right = (path_shares(fit, s, before) for s in TREE.values())
    np.testing.assert_allclose(left, right)
    end = [path_shares(fit, s, [1.0])[0] for s in TREE.values()]
    assert np.abs(np.log(end[0] / end[1])).max() > 1


@pytest.mark.parametrize("simulate", [simulate_path, simulate_tree])
def test_times_are_uniform_and_the_root_is_the_earliest(simulate):
    adata = simulated(simulate)
    time = adata.obs["time"]
    assert stats.kstest(time, "uniform").pvalue > LEAST_P
    assert time[adata.uns["root"]] == time.min()
    # And the order of the rows does not give it away.
    rows = stats.spearmanr(time, np.arange(N_CELLS)).pvalue
    assert rows > LEAST_P


def test_branches_fork_at_half_time_and_weigh_the_same():
    obs = simulated(simulate_tree).obs
    trunk = obs["branch"] == "trunk"
    assert (trunk == (obs["time"] < 0.5)).all()
    sides = obs["branch"][~trunk].value_counts()
    assert set(sides.index[sides > 0]) == {"left", "right"}
    assert stats.binomtest(sides["left"], (~trunk).sum()).pvalue > LEAST_P


# What all have in common


@pytest.mark.parametrize("simulate", SIMULATORS)
def test_models_can_train_on_them(simulate):
    for seed in range(3):
        adata = simulate(seed=seed)
        assert adata.shape == (1000, 500)
        cells, genes, _ = read_cells(adata)  # refuses what has no count
        assert adata.X.dtype == np.float32
        assert adata.X.format == "csr"
        assert len(set(genes)) == 500
        assert adata.obs_names.is_unique
        assert 0.5 < 1 - cells.counts.nnz / 500_000 < 0.9


@pytest.mark.parametrize("simulate", SIMULATORS)
def test_seeds_decide_and_global_noise_does_not(simulate):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (simulate(300, 40, seed=s) for s in (1, 1, 2))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert (one.X != again.X).nnz == 0
    pd.testing.assert_frame_equal(one.obs, again.obs)
    pd.testing.assert_frame_equal(one.var, again.var)
    assert (one.X != other.X).nnz > 100
    assert set(one.obs["library"]) != set(other.obs["library"])


@pytest.mark.parametrize("simulate", SIMULATORS)
@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"n_cells": 0}, "n_cells is a whole number of at least 1, not 0"),
        ({"n_cells": 9.5}, "n_cells is a whole number.*not 9.5"),
        ({"n_genes": 0}, "n_genes is a whole number of at least 1, not 0"),
        ({"n_genes": 2001}, "n_genes is 2001, but the pancreas has 2000"),
        ({"seed": -1}, "seed is a whole number of at least 0, not -1"),
        (
            {"n_cells": 5},
            "of 500 genes got no count, the first is.*take more cells",
        ),
    ],
)
def test_bad_numbers_end_in_a_sentence(simulate, kwargs, words):
    with pytest.raises(ValueError, match=words):
        simulate(**kwargs)


def test_a_cell_without_a_count_is_refused():
    with pytest.raises(ValueError, match="cells got no count.*'cell.*more gen"):
        simulate_path(3000, 1)


@pytest.mark.parametrize("name", ["t_cell", "neuron"])
def test_a_type_that_cannot_be_fitted_is_refused(name):
    words = f"{name!r} is no cell type of the pancreas with at least 50"
    with pytest.raises(ValueError, match=words):
        fit_types(10, ("beta", name))


# Twins


@pytest.fixture
def cells():
    return datasets.load_pancreas()[:300].copy()


def halves(twins, genes):
    """Counts of both batches over all genes, zero where one was left out."""
    full = twins.to_df().reindex(columns=genes, fill_value=0).to_numpy()
    return np.split(full, 2)


def test_halves_sum_to_the_source_before_thinning(cells):
    twins = split_into_twins(cells, shift=0)
    a, b = halves(twins, cells.var_names)
    x = cells.X.toarray()
    assert np.array_equal(a + b, x)
    assert (twins.var["kept"] == 1).all()
    z = (a.sum(0) - x.sum(0) / 2) / np.sqrt(np.maximum(x.sum(0), 1) / 4)
    assert np.abs(z).max() < 4.5
    # Each count by itself: two molecules part as 1:2:1.
    pairs = np.bincount(a[x == 2].astype(int), minlength=3)
    expected = pairs.sum() * np.array([1, 2, 1]) / 4
    assert stats.chisquare(pairs, expected).pvalue > LEAST_P


def test_batch_b_is_thinned_gene_by_gene(cells):
    whole, thinned = (
        split_into_twins(cells, shift=s, seed=4) for s in (0, 0.5)
    )
    genes = cells.var_names
    a, b = halves(whole, genes)
    kept_a, kept_b = halves(thinned, genes)
    assert np.array_equal(a, kept_a)  # batch A is what it was
    assert (kept_b <= b).all()
    p = thinned.var["kept"].reindex(genes)[b.sum(0) > 0]
    b, kept_b = (v[:, b.sum(0) > 0].sum(0) for v in (b, kept_b))
    known = p.notna()  # the others were left out
    z = (kept_b - b * p) / np.sqrt(b * p * (1 - p) + 1e-9)
    assert np.abs(z[known & (p < 1)]).max() < 4.5
    assert (kept_b == b)[known & (p == 1)].all()


@pytest.mark.parametrize("shift", [0.2, 0.5, 1.0])
def test_thinning_is_log_normal_cut_at_one(cells, shift):
    kept = split_into_twins(cells, shift=shift, seed=1).var["kept"]
    assert kept.between(0, 1, inclusive="right").all()
    g = np.log(kept) / shift + 2
    uncut = g < 2
    assert (~uncut).mean() == pytest.approx(stats.norm.sf(2), abs=0.012)
    law = stats.truncnorm(-np.inf, 2)
    assert stats.kstest(g[uncut], law.cdf).pvalue > LEAST_P


def test_twins_know_each_other(cells):
    before = cells.copy()
    twins = split_into_twins(cells)
    assert twins.n_obs == 600
    a, b = twins[:300], twins[300:]
    assert (a.obs["batch"] == "A").all()
    assert (b.obs["batch"] == "B").all()
    for half in (a, b):
        assert list(half.obs["twin"]) == list(cells.obs_names)
        types = half.obs["cell_type"].to_numpy()
        assert (types == cells.obs["cell_type"].to_numpy()).all()
    assert twins.obs_names.is_unique
    assert "n_counts" not in twins.obs
    read_cells(twins, batch_key="batch")
    assert (cells.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(cells.obs, before.obs)


def test_genes_without_a_count_are_left_out_and_no_others(cells):
    twins = split_into_twins(cells, shift=0)
    seen = cells.var_names[cells.X.sum(0).A1 > 0]
    assert len(seen) < cells.n_vars
    assert list(twins.var_names) == list(seen)


def test_twins_are_decided_by_their_seed(cells):
    one, again, other = (split_into_twins(cells, seed=s) for s in (1, 1, 2))
    assert (one.X != again.X).nnz == 0
    assert not np.array_equal(one.var["kept"][:9], other.var["kept"][:9])


@pytest.mark.parametrize("shift", [-0.1, np.nan, np.inf, None, [1, 2]])
def test_a_shift_of_no_use_is_refused(cells, shift):
    with pytest.raises(ValueError, match="shift is a finite number at least 0"):
        split_into_twins(cells, shift=shift)


def test_what_is_no_counts_is_refused(cells):
    with pytest.raises(TypeError, match="adata is an AnnData, not ndarray"):
        split_into_twins(np.ones((3, 3)))
    logs = cells.copy()
    logs.X = logs.X.log1p()
    with pytest.raises(ValueError, match="log-transformed, use the raw"):
        split_into_twins(logs)
    twice = cells.copy()
    twice.obs_names = ["one"] * 300
    with pytest.raises(ValueError, match=r"stand twice.*obs_names_make_uniq"):
        split_into_twins(twice)


def test_a_cell_with_an_empty_half_is_refused():
    single = ad.AnnData(sparse.csr_matrix(np.eye(3, dtype=np.float32)))
    with pytest.raises(ValueError, match="of 6 cells got no count"):
        split_into_twins(single)


def test_nothing_heavy_is_imported_with_the_module():
    names = {"anndata", "scanpy", "pandas"} & set(vars(simulators))
    assert not names


@pytest.mark.parametrize("types", ["beta", [], ["beta"] * 2, [["beta"]]])
def test_types_are_a_list_of_names(types):
    with pytest.raises(ValueError, match="types is a |is no cell|one twice"):
        fit_types(10, types)


@pytest.mark.parametrize("stops", [("acinar",), (), ("acinar", "liver")])
def test_a_way_leads_through_types_that_were_fitted(stops):
    with pytest.raises(ValueError, match="^stops are two or more of acinar, "):
        path_shares(fit_types(10, PATH), stops, [0.5])


@pytest.mark.parametrize("time", [[-0.1], [1.1], [np.nan], 0.5, [[0.5]]])
def test_a_time_off_the_way_is_refused(time):
    with pytest.raises(ValueError, match=r"^time is one number in \[0, 1\]"):
        path_shares(fit_types(10, PATH), PATH, time)


def test_twins_of_cells_in_a_nullable_index(cells):
    wanted = split_into_twins(cells, seed=4)
    cells = cells.copy()
    for table in (cells.obs, cells.var):
        table.index = pd.Index(pd.array(list(table.index), dtype="string"))
    found = split_into_twins(cells, seed=4)
    assert (found.X != wanted.X).nnz == 0
    assert list(found.obs_names) == list(wanted.obs_names)
    assert list(found.obs["twin"]) == list(wanted.obs["twin"])
    assert list(found.var_names) == list(wanted.var_names)


# Programs that follow a machine


@functools.cache
def programs(strength=1.0):
    return simulate_programs(
        4000, 120, n_programs=24, strength=strength, seed=2
    )


def machine_told(adata):
    told = adata.uns["machine"]
    machine = BoltzmannMachine(len(told["bias"]), told["edges"])
    with torch.no_grad():
        machine.bias.copy_(torch.from_numpy(told["bias"]))
    machine.set_couplings(told["coupling"])
    return machine


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_the_machine_is_the_sum_of_its_half_adders(strength):
    adata = programs(strength)
    z = np.random.default_rng(0).integers(0, 2, (50, 24))
    i, j, k, a = z[:, adata.uns["sums"]].transpose(2, 0, 1)
    wrong = i + j - k - 2 * a  # (states, sums)
    energy = machine_told(adata).energy(z).detach().numpy()
    assert energy == pytest.approx(2 * strength * (wrong**2).sum(1), abs=1e-4)
    made = half_adders(24, strength=strength, seed=2)
    assert energy == pytest.approx(made.energy(z).detach().numpy())


def test_a_carry_has_one_sum_and_all_others_one_or_two():
    sums = programs().uns["sums"]
    assert sums.shape == (8, 4)
    times = np.bincount(sums.ravel(), minlength=24)
    assert set(times) == {1, 2}
    assert (times[sums[:, 3]] == 1).all()
    assert all(len(set(units)) == 4 for units in sums.tolist())


def test_programs_have_the_law_of_their_machine():
    """All 64 states of six programs, by enumeration, and none by ours."""
    adata = simulate_programs(6000, 30, n_programs=6, seed=1)
    bits = adata.obsm["program_bits"]
    p = machine_told(adata).law().numpy()
    number = bits.astype(int) @ (2 ** np.arange(6)[::-1])
    seen = np.bincount(number, minlength=64)
    likely = p * len(bits) > 5
    observed = [*seen[likely], seen[~likely].sum()]
    expected = np.array([*p[likely], p[~likely].sum()]) * len(bits)
    assert stats.chisquare(observed, expected).pvalue > LEAST_P
    flat = np.full(64, len(bits) / 64)
    assert stats.chisquare(seen, flat).pvalue < LEAST_P


def test_many_programs_have_the_means_that_enumeration_gives():
    """Bits, pairs and energy of 15 programs: the chains are long enough."""
    adata = simulate_programs(8000, 30, n_programs=15, seed=3)
    machine, bits = machine_told(adata), adata.obsm["program_bits"]
    exact = ExactSampler(seed=0).sample(machine, 8000).numpy()
    i, j = adata.uns["machine"]["edges"].T
    for found in (
        lambda z: z,
        lambda z: z[:, i] * z[:, j],
        lambda z: machine.energy(z).detach().numpy()[:, None],
    ):
        ours, theirs = found(bits), found(exact)
        p = stats.ttest_ind(ours, theirs, axis=0).pvalue
        assert p.min() > LEAST_P


def test_without_strength_programs_are_fair_coins():
    bits = programs(0.0).obsm["program_bits"]
    assert abs(bits.mean(0) - 0.5).max() < 0.05
    pairs = np.corrcoef(bits.T) - np.eye(24)
    assert abs(pairs).max() < 0.09


def test_the_carry_alone_tells_what_three_programs_know_of_each_other():
    """Independent in pairs, bound as three: a machine that needs its carry."""
    machine = half_adders(6, seed=1)
    i, j, k, a = simulate_programs(50, 30, n_programs=6, seed=1).uns["sums"][0]
    p = machine.law().numpy()
    spins = 2 * np.array(list(itertools.product((0, 1), repeat=6))) - 1
    three = p @ (spins[:, i] * spins[:, j] * spins[:, k])
    pairs = [p @ (spins[:, u] * spins[:, v]) for u, v in ((i, j), (i, k))]
    assert abs(three) > 0.6
    assert max(map(abs, pairs)) < 0.2 < abs(p @ (spins[:, i] * spins[:, a]))


def test_a_program_that_is_on_raises_its_own_genes_by_its_factor():
    adata = programs()
    share = adata.X.toarray() / adata.obs["library"].to_numpy()[:, None]
    program, bits = adata.var["program"].to_numpy(), adata.obsm["program_bits"]
    assert (np.bincount(program + 1)[1:] == 5).all()
    other = np.median(share[:, program >= 0], axis=1)
    for number in range(24):
        own = share[:, program == number].sum(1) / other.mean()
        on, off = (own[bits[:, number] == value].mean() for value in (1, 0))
        assert 5 < on / off < 11


PROGRAMS_REFUSED = {
    "few programs": (dict(n_programs=5), "n_programs is a whole number of at"),
    "few genes": (dict(n_genes=20), "n_genes is a whole number of at least 24"),
    "strength": (dict(strength=2), "strength is a finite number at least 0"),
}


@pytest.mark.parametrize("case", PROGRAMS_REFUSED)
def test_programs_of_no_use_are_refused(case):
    given, words = PROGRAMS_REFUSED[case]
    with pytest.raises(ValueError, match=words):
        simulate_programs(**{"n_cells": 50, "n_programs": 24, **given})
