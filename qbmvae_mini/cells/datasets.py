"""Real single-cell counts that come with the package: nothing is downloaded.

Each loader returns an AnnData whose ``X`` holds whole numbers, in float32 and
CSR. ``obs["n_counts"]`` is a cell's total over *all* genes of its source, so
it may exceed the sum of its row. ``uns["source"]`` names paper, accession and
licence. How each set was made, its flaws, and what it can and cannot show is
in ``data/README.md``.
"""

from pathlib import Path

#: pbmc68k stores logs with three decimals, so its counts come back this close.
_PBMC68K_RESIDUAL = 0.1

_PBMC68K_SOURCE = {
    "title": "Peripheral blood mononuclear cells (10x)",
    "citation": "Zheng et al., Nature Communications 8, 14049 (2017)",
    "doi": "10.1038/ncomms14049",
    "accession": "SRA SRP073767",
    "licence": "10x Genomics data CC BY 4.0; scanpy BSD-3-Clause",
    "package": "scanpy, pbmc68k_reduced()",
}


def load(name):
    """Load a bundled data set by its name.

    Parameters
    ----------
    name : str
        ``"pancreas"``, ``"marrow"``, ``"immune"``, ``"pbmc68k"``,
        ``"cord_blood"`` or ``"protein_runs"``.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)

    Raises
    ------
    ValueError
        If there is no such data set.
    """
    if not isinstance(name, str) or name not in _LOADERS:
        names = ", ".join(_LOADERS)
        raise ValueError(
            f"{name!r} is no bundled data set; choose one of {names}"
        )
    return _LOADERS[name]()


def load_pancreas():
    """Cells of one human pancreas, three libraries, with expert labels.

    Baron et al. 2016, GEO GSE84133, donor 1. A public GEO deposit, taken from
    an Apache-2.0 package. The libraries share a donor: holding one out tests
    transfer between libraries, not between people.

    Returns
    -------
    AnnData, shape (1937, 2000)
        ``obs["cell_type"]`` has 14 types, two to 872 cells each;
        ``obs["batch"]`` is the library, lib1 to lib3.
    """
    return _read("pancreas")


def load_marrow():
    """Bone marrow of a leukaemia patient and two healthy donors.

    Zheng et al. 2017, SRA SRP073767; 10x Genomics data, CC BY 4.0. There are
    no expert labels: the clusters were computed from these very counts, so
    predicting them proves nothing. Leukaemia is confounded with donor.

    Returns
    -------
    AnnData, shape (1000, 837)
        ``obs["donor"]`` is AML1, healthy1 or healthy2; ``obs["cluster"]`` is a
        Louvain cluster. ``obs["erythroid_arm"]`` marks the maturing red cells
        of AML1, and ``uns["erythroid_arm"]`` lists their clusters in order,
        root first. That order may not be scored with the genes in
        ``uns["haemoglobin_genes"]`` if they also drive it.
    """
    return _read("marrow")


def load_immune():
    """Immune cells of breast tumours, with expert labels.

    Bassez et al. 2021, EGA EGAS00001004809; public counts of the study, taken
    from an MIT package. Patient and treatment of a cell are not known here.

    Returns
    -------
    AnnData, shape (1000, 2000)
        ``obs["cell_type"]`` has 14 types, two to 324 cells each.
    """
    return _read("immune")


def load_pbmc68k():
    """Blood cells that scanpy carries, turned back into counts.

    Zheng et al. 2017, SRA SRP073767; 10x Genomics data, CC BY 4.0. scanpy
    stores log(1 + 1e4 count / n_counts) to three decimals; inverted, every
    value lies within 0.1 of a whole number, else a ValueError is raised.

    Returns
    -------
    AnnData, shape (700, 765)
        ``obs["cell_type"]`` has 10 types: for each cell, the purified blood
        population it correlates with best. Neighbouring types are mixed up.
    """
    import anndata as ad
    import numpy as np
    import scanpy as sc
    from scipy import sparse

    stored = sc.datasets.pbmc68k_reduced()
    totals = stored.obs["n_counts"].to_numpy(np.float64)[:, None]  # (cells, 1)
    scaled = np.expm1(stored.raw.X.toarray().astype(np.float64)) * totals / 1e4
    counts = np.rint(scaled)  # (cells, genes)
    residual = np.abs(scaled - counts).max()
    if not residual <= _PBMC68K_RESIDUAL:
        raise ValueError(
            f"pbmc68k: values lie up to {residual:.2g} from whole counts, "
            f"more than {_PBMC68K_RESIDUAL}; this scanpy stores other data."
        )
    obs = stored.obs[["bulk_labels"]].rename(
        columns={"bulk_labels": "cell_type"}
    )
    obs["n_counts"] = np.rint(totals[:, 0]).astype(np.int64)
    adata = ad.AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs)
    adata.obs_names.name = None
    adata.var_names = list(stored.raw.var_names)
    adata.uns["source"] = dict(_PBMC68K_SOURCE)
    return adata


def load_cord_blood():
    """Cells of human cord blood, with some mouse cells among them.

    Stoeckius et al. 2017, GEO GSE100866. A public GEO deposit, taken from an
    MIT package that kept the 500 genes seen in most cells and dropped their
    names. With 8,617 cells it is the largest set: it shows how a model gains
    from more cells. Markers cannot be looked up.

    Returns
    -------
    AnnData, shape (8617, 500)
        ``obs["cell_type"]`` has 13 types, 50 to 3,086 cells each, named on
        clusters of RNA; ``"Unknown"`` and ``"Mouse"`` are two of them.
        ``obs["n_counts"]`` covers these 500 genes only.
    """
    return _read("cord_blood")


def load_protein_runs():
    """Blood cells of two people, with types that only proteins decided.

    10x Genomics, 5k and 10k PBMCs of a healthy donor with TotalSeq-B
    antibodies, CC BY 4.0, 200 cells of each. A cell's type was read off its
    surface proteins, so a score on it does not reward RNA for agreeing with
    itself. Run and donor are one thing here.

    Returns
    -------
    AnnData, shape (400, 2000)
        ``obs["cell_type"]`` has five types, 29 to 154 cells each, and
        ``"ungated"`` for 36 cells that belong in no score;
        ``obs["batch"]`` is the run, 5k or 10k. ``obsm["proteins"]`` holds the
        counts of 14 proteins, ``uns["gates"]`` the thresholds of each run.
    """
    return _read("protein_runs")


def data_directory():
    """Folder of the bundled files, in an installed package or a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = [package / "data", package.parent / "data"]
    for place in places:
        if (place / "pancreas.h5ad").is_file():
            return place
    raise FileNotFoundError(
        f"the bundled data are neither in {places[0]} nor in {places[1]}: "
        "reinstall the package, or run `python data/build.py` in a checkout."
    )


def _read(name):
    """Read ``data/<name>.h5ad``."""
    import anndata as ad

    return ad.read_h5ad(data_directory() / f"{name}.h5ad")


_LOADERS = {
    "pancreas": load_pancreas,
    "marrow": load_marrow,
    "immune": load_immune,
    "pbmc68k": load_pbmc68k,
    "cord_blood": load_cord_blood,
    "protein_runs": load_protein_runs,
}
