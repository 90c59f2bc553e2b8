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
    "wheel": "scanpy, pbmc68k_reduced()",
}


def load(name):
    """Load a bundled data set by its name.

    Parameters
    ----------
    name : {"pancreas", "marrow", "immune", "pbmc68k"}

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
    an Apache-2.0 wheel. The libraries share a donor: holding one out tests
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
    from an MIT wheel. Patient and treatment of a cell are not known here.

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
}
