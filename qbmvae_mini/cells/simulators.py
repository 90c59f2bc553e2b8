"""Counts whose truth is known, made from the law of real ones.

`fit_types` reads cells of the bundled pancreas (Baron et al. 2016) and takes,
for each cell type, every gene's share of the counts, and for each gene one
inverse dispersion. `simulate_batches`, `simulate_path` and `simulate_tree`
draw new counts from negative binomials with these numbers. A model that
assumes the same law is at home here: such data show whether a known truth
comes back, and prove nothing about biology. The orders of types on the path
and on the tree are made up; no pancreas grows like this.

`simulate_programs` takes depth and noise of genes from the same fit, and
nothing else: which programs are on in a cell is drawn from a Boltzmann
machine that is known, `half_adders`. Such cells show what a prior with
couplings is for, and whether a model finds them.

`split_into_twins` simulates less. Its counts are real ones, split by chance
into two halves, and only the difference between the halves is made.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

from qbmvae_mini.cells import datasets
from qbmvae_mini.cells.reading import check_adata, gene_names, read_cells
from qbmvae_mini.checks import check_real, check_seed, check_whole
from qbmvae_mini.machines import BoltzmannMachine
from qbmvae_mini.samplers import GibbsSampler

#: Types with fewer cells tell too little of their genes.
LEAST_CELLS = 50

#: Types along `simulate_path`, at times 0, 1/3, 2/3 and 1.
PATH = ("acinar", "ductal", "delta", "beta")

#: Types along `simulate_tree`, at times 0, 1/2 and 1.
TREE = {"left": ("acinar", "ductal", "alpha"), "right": PATH[:2] + ("beta",)}

#: Batches of `simulate_batches`, and the sd of a gene's log shift in each.
BATCHES, SHIFT = ("A", "B", "C"), 0.5

#: Weights of a half adder's programs in ``z_i + z_j - z_k - 2 z_a``, and what
#: an error of one costs at full strength, in nats.
ADDER, STIFFNESS = (1, 1, -1, -2), 2.0

#: Factor of a gene's share while its program is on, and sweeps of the chains
#: that say which are, one chain a cell.
FOLD, SWEEPS = 8.0, 500

#: Beyond this inverse dispersion a law is Poisson for all that counts show.
_LARGEST_R = 1e3


class Fit(NamedTuple):
    """What `fit_types` has taken from the pancreas."""

    genes: np.ndarray  #: names, (genes,)
    types: tuple  #: names
    frequency: np.ndarray  #: of each type among the cells, (types,)
    shares: np.ndarray  #: of the counts, rows sum to 1, (types, genes)
    r: np.ndarray  #: inverse dispersions, (genes,)
    library: np.ndarray  #: library size of each cell over `genes`, (cells,)


def fit_types(n_genes=500, types=None):
    r"""Fit a negative binomial a type and gene to the pancreas, by moments.

    Genes are those with the largest share of the counts, averaged over the
    types. With :math:`\ell_i` the library size of cell i over them,

    .. math::

        s_{tg} = \frac{\sum_{i \in t} x_{ig} + \bar\ell \, \bar s_g}
                      {\sum_{i \in t} \ell_i + \bar\ell}, \qquad
        \frac{1}{r_g} = \frac{\sum_i (x_{ig} - m_{ig})^2 - m_{ig}}
                             {\sum_i m_{ig}^2}, \qquad
        m_{ig} = \ell_i s_{t_i g}.

    A type thus gets one average cell of all types, which keeps its logarithms
    finite. The second formula equates the sums of
    :math:`(x - m)^2` and of its mean :math:`m + m^2 / r` over all cells;
    :math:`r` is at most 1,000. Where one gene makes up much of a cell, as INS
    does in beta cells, :math:`\ell_i` holds its noise as well, and its
    :math:`r` comes out too large.

    Parameters
    ----------
    n_genes : int
        At most the 2,000 of the data set.
    types : sequence of str, optional
        Cell types, by default all with 50 cells or more.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If there are fewer genes, or a type is unknown or too small.
    """
    adata = datasets.load_pancreas()
    n_genes = check_whole("n_genes", n_genes, 1)
    if n_genes > adata.n_vars:
        raise ValueError(
            f"n_genes is {n_genes}, but the pancreas has {adata.n_vars}; "
            f"take at most {adata.n_vars}"
        )
    types = _chosen(adata.obs["cell_type"].value_counts(), types)
    label = adata.obs["cell_type"].astype(str).to_numpy()
    member = (label[:, None] == np.array(types)).astype(float)
    member, x = member[member.any(1)], adata.X[np.isin(label, types)]

    counts = member.T @ x  # (types, genes)
    genes = np.argsort(-_rows_to_one(counts).mean(0), kind="stable")[:n_genes]
    counts, x = counts[:, genes], x[:, genes].toarray()
    library = x.sum(1, dtype=float)
    average_cell = library.mean() * counts.sum(0) / counts.sum()
    shares = _rows_to_one(counts + average_cell)
    m = library[:, None] * (member @ shares)  # (cells, genes)
    surplus = ((x - m) ** 2 - m).sum(0)
    r = (m**2).sum(0) / np.maximum(surplus, (m**2).sum(0) / _LARGEST_R)
    return Fit(
        adata.var_names[genes].to_numpy(str),
        types,
        member.mean(0),
        shares,
        r,
        library,
    )


def simulate_batches(n_cells=1000, n_genes=500, *, seed=0):
    """Cells of real types in three batches, with a known shift a gene.

    A cell's type and batch are independent. In batch b gene g has the type's
    share times ``exp(var["shift_b"])``, and a batch's shares are scaled to sum
    to 1 again. Shifts are Gaussian with sd 0.5.

    Parameters
    ----------
    n_cells, n_genes : int
    seed : int

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        Counts, float32 and CSR, no gene and no cell without one.
        ``obs["cell_type"]``, ``obs["batch"]`` (A, B or C, equally probable),
        ``obs["library"]`` (the mean of the cell's sum), ``var["r"]``,
        ``var["shift_A"]`` to ``var["shift_C"]`` (natural logarithms).

    Raises
    ------
    ValueError
        If a number is of no use, or a cell or gene is left without a count.
    """
    n_cells, rng = check_whole("n_cells", n_cells, 1), _generator(seed)
    fit = fit_types(n_genes)
    cell_type = rng.choice(len(fit.types), n_cells, p=fit.frequency)
    batch = rng.integers(len(BATCHES), size=n_cells)
    shift = rng.normal(0, SHIFT, (len(BATCHES), n_genes))
    shares = _rows_to_one(fit.shares[cell_type] * np.exp(shift[batch]))
    obs = {
        "cell_type": np.array(fit.types)[cell_type],
        "batch": np.array(BATCHES)[batch],
    }
    adata = _draw(fit, shares, obs, rng)
    for name, gene_shift in zip(BATCHES, shift, strict=True):
        adata.var[f"shift_{name}"] = gene_shift
    return adata


def simulate_path(n_cells=1000, n_genes=500, *, seed=0):
    """Cells along one continuous path through four real types.

    Log shares move on straight lines from acinar (time 0) through ductal and
    delta to beta cells (time 1). Times are uniform, and depth does not depend
    on them.

    Parameters
    ----------
    n_cells, n_genes : int
    seed : int

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As from `simulate_batches`, with ``obs["time"]`` in [0, 1] in place of
        types and batches; ``uns["root"]`` is the name of the earliest cell.

    Raises
    ------
    ValueError
        If a number is of no use, or a cell or gene is left without a count.
    """
    n_cells, rng = check_whole("n_cells", n_cells, 1), _generator(seed)
    fit = fit_types(n_genes, PATH)
    time = rng.uniform(size=n_cells)
    shares = path_shares(fit, PATH, time)
    return _with_root(_draw(fit, shares, {"time": time}, rng))


def simulate_tree(n_cells=1000, n_genes=500, *, seed=0):
    """Cells along a path that forks at time 1/2.

    The trunk leads from acinar to ductal cells, the left branch from there to
    alpha and the right one to beta cells, as in `simulate_path`. Both branches
    are equally probable.

    Parameters
    ----------
    n_cells, n_genes : int
    seed : int

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As from `simulate_path`, and ``obs["branch"]``: trunk, left or right.

    Raises
    ------
    ValueError
        If a number is of no use, or a cell or gene is left without a count.
    """
    n_cells, rng = check_whole("n_cells", n_cells, 1), _generator(seed)
    left, right = TREE.values()
    fit = fit_types(n_genes, (*left, right[-1]))
    time = rng.uniform(size=n_cells)
    side = rng.choice(list(TREE), n_cells)
    shares = np.where(
        (side == "left")[:, None],
        path_shares(fit, left, time),
        path_shares(fit, right, time),
    )
    obs = {"time": time, "branch": np.where(time < 0.5, "trunk", side)}
    return _with_root(_draw(fit, shares, obs, rng))


def half_adders(n_programs=48, *, strength=1.0, seed=0):
    r"""A machine of programs that are wired as sums of two bits.

    A third of the programs are *carries*; each of the others stands in one or
    two sums. The energy

    .. math:: E(z) = 2 s \sum_{\text{sums}} (z_i + z_j - z_k - 2 z_a)^2

    makes program k on where exactly one of i and j is, and program a where
    both are: a half adder, with pairwise couplings alone. They are
    frustrated: i and j repel each other and both attract k and a, which repel
    each other. With a summed out, i, j and k are independent in pairs and
    bound only as three, which no logistic regression of one on the others
    can say. Sums share programs, so modes multiply, and no mixture of a
    hundred holds them all.

    Parameters
    ----------
    n_programs : int
        At least 6. Their order is random.
    strength : float
        :math:`s` in [0, 1]. At 0 all programs are fair coins.
    seed : int
        Wires them.

    Returns
    -------
    BoltzmannMachine
        On the graph of the sums, at temperature 1.

    Raises
    ------
    ValueError
        If a number is of no use.
    """
    n_programs = check_whole("n_programs", n_programs, 6)
    strength = check_real("strength", strength, least=0, most=1)
    square = np.zeros((n_programs, n_programs))
    for units in _sums(n_programs, seed):
        square[np.ix_(units, units)] += np.outer(ADDER, ADDER)
    pairs = np.argwhere(np.triu(square, 1))
    machine = BoltzmannMachine(n_programs, pairs)
    scale = -STIFFNESS * strength
    with torch.no_grad():
        # z^2 = z, so the diagonal is a bias; a pair stands twice in a square.
        machine.bias.copy_(torch.from_numpy(scale * square.diagonal()))
        machine.set_couplings(2 * scale * square[tuple(pairs.T)])
    return machine


def simulate_programs(
    n_cells=2000, n_genes=240, *, n_programs=48, strength=1.0, seed=0
):
    """Cells whose programs follow a known Boltzmann machine.

    Which programs are on is drawn from `half_adders`, by one long Gibbs chain
    a cell. A program has ``n_genes // n_programs`` genes of its own, chosen
    at random, and multiplies their shares by 8 while it is on; then a cell's
    shares are scaled to sum to 1. A gene's share with all programs off is its
    geometric mean over the types of `fit_types`.

    Parameters
    ----------
    n_cells, n_genes, n_programs : int
    strength, seed
        Those of `half_adders`; `seed` also draws the cells.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As from `simulate_batches`, without types and batches.
        ``obsm["program_bits"]``, (n_cells, n_programs);
        ``var["program"]``, the number of a gene's program, or -1;
        ``uns["machine"]``, its ``edges``, ``coupling`` and ``bias`` as of
        `BoltzmannMachine`; ``uns["sums"]``, a row a half adder, programs
        i, j, k and a.

    Raises
    ------
    ValueError
        If a number is of no use, or a cell or gene is left without a count.
    """
    n_cells = check_whole("n_cells", n_cells, 1)
    machine = half_adders(n_programs, strength=strength, seed=seed)
    n_genes = check_whole("n_genes", n_genes, n_programs)
    fit, rng = fit_types(n_genes), _generator(seed)
    chains = GibbsSampler(sweeps=SWEEPS, persistent=False, seed=seed)
    bits = chains.sample(machine, n_cells).numpy()

    program = np.full(n_genes, -1)
    numbers = np.arange(n_programs).repeat(n_genes // n_programs)
    program[rng.permutation(n_genes)[: len(numbers)]] = numbers
    on = (bits[:, program] == 1) & (program >= 0)  # (n_cells, n_genes)
    shares = np.exp(np.log(fit.shares).mean(0)) * np.where(on, FOLD, 1)
    adata = _draw(fit, _rows_to_one(shares), {}, rng)
    adata.var["program"] = program
    adata.obsm["program_bits"] = bits
    adata.uns["sums"] = _sums(n_programs, seed)
    adata.uns["machine"] = {
        "edges": machine.edges.T.numpy(),
        "coupling": machine.coupling.detach().numpy(),
        "bias": machine.bias.detach().numpy(),
    }
    return adata


def path_shares(fit, stops, time):
    """Shares of the counts on the way through some types.

    Logarithms of the shares are interpolated linearly between the stops,
    which lie at equal distances of time; then shares are scaled to sum to 1.

    Parameters
    ----------
    fit : Fit
    stops : sequence of str
        Two types or more.
    time : array, shape (n,)
        In [0, 1].

    Returns
    -------
    array, shape (n, n_genes)

    Raises
    ------
    ValueError
        If a stop is no type of `fit`, there are fewer than two, or a time is
        not in [0, 1].
    """
    strange = [name for name in stops if name not in fit.types]
    if strange or len(stops) < 2:
        raise ValueError(
            f"stops are two or more of {', '.join(fit.types)}, not {stops!r}"
        )
    time = np.asarray(time)
    if time.ndim != 1 or not ((time >= 0) & (time <= 1)).all():
        raise ValueError(
            "time is one number in [0, 1] a cell, 0 at the first stop and 1 at "
            "the last"
        )
    logs = np.log(fit.shares[[fit.types.index(name) for name in stops]])
    place = time[:, None] * (len(stops) - 1)  # 0 ... stops - 1
    weight = 1 - np.abs(place - np.arange(len(stops)))  # (n, stops)
    return _rows_to_one(np.exp(np.maximum(weight, 0) @ logs))


def split_into_twins(adata, *, shift=0.5, seed=0):
    """Each real cell twice: half of its counts in batch A, half in batch B.

    Every single count goes to either half with probability 1/2. In batch B it
    is then kept with its gene's probability, ``min(1, exp(shift (g - 2)))``
    with a standard Gaussian g a gene: a log-normal shift, cut at 1 for one
    gene in 44, and a loss of depth, as between real batches.

    Parameters
    ----------
    adata : AnnData
        Counts in ``X``.
    shift : float
        At least 0; at 0 nothing is lost.
    seed : int

    Returns
    -------
    AnnData, shape (2 n_cells, at most n_genes)
        First all of batch A, then all of batch B, in the order of `adata`.
        ``obs["batch"]`` is A or B, ``obs["twin"]`` the name of the source
        cell; the other columns are the source's but for ``n_counts``, which
        no longer holds. ``var["kept"]`` is the probability of the gene in B.
        Genes that end without a single count are left out.

    Raises
    ------
    TypeError
        If `adata` is no AnnData, or its numbers are of no use as counts.
    ValueError
        If its numbers are not counts, or a half is left without one.
    """
    import anndata as ad
    import pandas as pd

    check_adata(adata)
    rng, shift = _generator(seed), check_real("shift", shift, least=0)
    # With its own genes given, a gene without a count is let through.
    genes = gene_names(adata)
    whole = read_cells(adata, genes=genes)[0].counts.astype(np.int64)
    if not adata.obs_names.is_unique:
        raise ValueError(
            "names in adata.obs_names stand twice, so twins cannot be told; "
            "call adata.obs_names_make_unique() first"
        )
    half = whole.copy()
    half.data = rng.binomial(whole.data, 0.5)
    other = (whole - half).tocsr()
    kept = np.exp(np.minimum(0, shift * (rng.normal(size=adata.n_vars) - 2)))
    other.data = rng.binomial(other.data, kept[other.indices])
    counts = sparse.vstack([half, other], format="csr", dtype=np.float32)
    counts.eliminate_zeros()

    obs = adata.obs.drop(columns="n_counts", errors="ignore")
    obs = pd.concat(
        obs.assign(batch=batch, twin=obs.index).set_axis(
            obs.index.astype(str) + f"-{batch}"
        )
        for batch in "AB"
    )
    obs["batch"] = obs["batch"].astype("category")
    var = pd.DataFrame({"kept": kept}, index=genes)
    seen = np.asarray(counts.sum(0)).ravel() > 0
    twins = ad.AnnData(counts[:, seen], obs=obs, var=var[seen])
    _check_no_empty(twins)
    return twins


def _generator(seed):
    return np.random.default_rng(check_seed(seed))


def _rows_to_one(array):
    return array / array.sum(1, keepdims=True)


def _sums(n_programs, seed):
    """Programs i, j, k, a of each half adder, (n_programs // 3, 4)."""
    rng = _generator(seed)
    n_sums = n_programs // 3
    order = rng.permutation(n_programs)
    carries, others = order[:n_sums], order[n_sums:]
    while True:
        # All programs are dealt out once before one is dealt out twice.
        deck = np.concatenate([rng.permutation(others) for _ in range(2)])
        three = deck[: 3 * n_sums].reshape(n_sums, 3)
        if all(len(set(units)) == 3 for units in three.tolist()):
            return np.column_stack([three, carries])


def _chosen(cells_of, types):
    """The types that are fitted, refused where they cannot be."""
    known = cells_of.index[cells_of >= LEAST_CELLS]  # the largest first
    if types is None:
        return tuple(known)
    if isinstance(types, str) or len(types) == 0:
        raise ValueError(
            f"types is a list of cell types, not {types!r}; leave it out for "
            "all of them"
        )
    for name in types:
        if name not in list(known):
            raise ValueError(
                f"{name!r} is no cell type of the pancreas with at least "
                f"{LEAST_CELLS} cells; choose among {', '.join(known)}"
            )
    if len(set(types)) < len(types):
        raise ValueError(f"types names one twice: {', '.join(types)}")
    return tuple(types)


def _draw(fit, shares, obs, rng):
    """Counts with these shares, (n_cells, n_genes), as an AnnData."""
    import anndata as ad
    import pandas as pd

    library = rng.choice(fit.library, len(shares))
    m = library[:, None] * shares
    counts = rng.poisson(rng.gamma(fit.r, m / fit.r))  # a negative binomial
    names = [f"cell{i}" for i in range(len(shares))]
    obs = pd.DataFrame(obs | {"library": library}, index=names)
    for name in obs.columns.difference(["time", "library"]):
        obs[name] = obs[name].astype("category")
    adata = ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.float32),
        obs=obs,
        var=pd.DataFrame({"r": fit.r}, index=fit.genes),
    )
    _check_no_empty(adata)
    return adata


def _with_root(adata):
    adata.uns["root"] = str(adata.obs["time"].idxmin())
    return adata


def _check_no_empty(adata):
    """Refuse a gene or a cell that chance has left without a count."""
    for axis, names, advice in (
        (1, adata.obs_names, "take fewer cells of low depth or more genes"),
        (0, adata.var_names, "take more cells or fewer genes"),
    ):
        empty = np.asarray(adata.X.sum(axis)).ravel() == 0
        if empty.any():
            what = "cell" if axis else "gene"
            raise ValueError(
                f"{empty.sum()} of {len(names)} {what}s got no count, the "
                f"first is {names[empty][0]!r}; {advice}, or another seed"
            )
