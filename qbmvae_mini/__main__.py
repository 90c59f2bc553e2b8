"""``python -m qbmvae_mini``: a model of your own cells, without a notebook.

::

    python -m qbmvae_mini fit cells.h5ad MODEL --batch-key donor
    python -m qbmvae_mini embed new.h5ad MODEL out.h5ad

`fit` trains and saves, `embed` maps cells with what was saved. To draw new
cells call `qbmvae_mini.CellVAE.generate`: it takes library sizes and batches
from the training cells, which a saved model does not hold.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

#: Widths unless another is asked for. The encoder gives 64 numbers a cell
#: either way: a logit a bit, or a mean and a log variance a Gaussian number.
WIDTHS = {"boltzmann": 64, "gaussian": 32}

#: Share of the cells held out of training, for early stopping.
VALIDATION = 0.1

#: Epochs over which the KL weight rises; a third of all if that is fewer.
WARMUP = 40


def main(argv=None):
    """Run one command; bad input ends in one sentence on stderr.

    Parameters
    ----------
    argv : list of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        Exit status: 0 if all went well, 2 for bad input, 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    command = f"python -m qbmvae_mini {arguments.command}"
    try:
        with warnings.catch_warnings():
            # Two cells may share a name; of two genes our own words tell.
            warnings.filterwarnings("ignore", ".*names are not unique")
            arguments.run(arguments)
    except (KeyError, OSError, TypeError, ValueError) as error:
        print(f"{command}: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{command}: stopped before it was done", file=sys.stderr)
        return 130
    return 0


def fit(arguments):
    """Choose genes, train, save."""
    from qbmvae_mini.models import files
    from qbmvae_mini.models.named import QBMVAE, GaussianVAE

    with files.new_folder(arguments.model, arguments.force) as folder:
        adata = files.read_h5ad(arguments.cells)
        print(f"{arguments.cells}: {adata.n_obs} cells, {adata.n_vars} genes")
        cells, layer = files.find_counts(adata, arguments.layer)
        genes = _choose(cells, layer, arguments)
        width = arguments.n_latent
        kind = {"boltzmann": QBMVAE, "gaussian": GaussianVAE}[arguments.latent]
        model = kind(
            cells[:, genes].copy(),
            n_latent=WIDTHS[arguments.latent] if width is None else width,
            layer=layer,
            batch_key=arguments.batch_key,
            seed=arguments.seed,
        )
        if arguments.batch_key is not None:
            print(f"batches: {_some(model.batches)}")
        warmup = min(WARMUP, arguments.max_epochs // 3)
        start = time.perf_counter()
        model.fit(
            arguments.max_epochs,
            lr=arguments.lr,
            kl_warmup=warmup,
            validation=VALIDATION,
            resume=arguments.checkpoint,
            progress=sys.stderr.isatty(),
        )
        seconds = time.perf_counter() - start
        print(f"training: {len(model.history_)} epochs in {seconds:.1f} s")
        held_out = round(VALIDATION * cells.n_obs)
        print(f"{held_out} held-out cells: {_judged(model.history_, warmup)}")
        model.save(folder)
    print(f"saved in {arguments.model}")


def embed(arguments):
    """Map cells with a saved model, and write them to a new file."""
    from qbmvae_mini.models import files

    if arguments.force and _same_file(arguments.cells, arguments.out):
        raise ValueError(
            f"{arguments.out!r} is the file to read; name another one to write"
        )
    with files.new_file(arguments.out, arguments.force) as file:
        model, settings = files.load_model(arguments.model)
        adata = files.read_h5ad(arguments.cells)
        layer, key = settings["layer"], settings["batch_key"]
        place = files.find_counts(adata, arguments.layer or layer)
        cells = _as_trained(*place, model.genes, layer)
        adata.obsm["X_qbmvae"] = model.get_latent_representation(cells)
        print(f"obsm['X_qbmvae']: {adata.n_obs} cells")
        if type(model).__name__ == "QBMVAE":
            adata.obs["qbmvae_energy"] = model.get_energy(cells)
            print("obs['qbmvae_energy']: the prior energy of their codes")
        known = _known(cells, key, model.batches)
        if known.any():
            adata.obs["qbmvae_log_likelihood"] = _likelihood(
                model, cells, known
            )
        adata.write_h5ad(file)
    print(f"written to {arguments.out}")


def _choose(cells, layer, arguments):
    """Genes for the model, with a word on those left out."""
    from qbmvae_mini.cells.genes import choose_genes, counted_genes

    where = {"layer": layer, "batch_key": arguments.batch_key}
    counted = counted_genes(cells, layer=layer)
    absent = cells.n_vars - len(counted)
    print(f"genes: {absent} without a count are left out, ", end="")
    if arguments.n_genes == "all" or arguments.n_genes >= len(counted):
        print(f"all other {len(counted)} are read")
        return counted
    chosen = choose_genes(cells, arguments.n_genes, **where)
    print(f"the {len(chosen)} most variable of {len(counted)} are read")
    return chosen


def _judged(history, warmup):
    """Words on the validation that chose the weights.

    Before the end of the warm-up none is a candidate.
    """
    scores = [
        (entry["validation"], entry["epoch"] + 1)
        for entry in history
        if entry.get("validation") is not None and entry["epoch"] + 1 >= warmup
    ]
    if not scores:
        return "not scored, since too few epochs were trained"
    best, epoch = max(scores)
    return f"log-likelihood {best:.1f} nats a cell, in epoch {epoch}"


def _as_trained(cells, layer, genes, place):
    """The model's genes of `cells`, their counts where training had them."""
    import anndata
    import pandas

    from qbmvae_mini.cells.reading import read_cells

    counts = read_cells(cells, layer=layer, genes=genes)[0].counts
    return anndata.AnnData(
        counts,
        obs=cells.obs,
        var=pandas.DataFrame(index=genes),
        layers={} if place is None else {place: counts},
    )


def _known(cells, batch_key, batches):
    """Whether the model knows each cell's batch; says which it does not."""
    import numpy as np

    from qbmvae_mini.checks import check_names

    if batch_key is None:
        return np.ones(cells.n_obs, dtype=bool)
    if batch_key not in cells.obs:
        print(f"no likelihood, since obs has no column {batch_key!r}")
        return np.zeros(cells.n_obs, dtype=bool)
    column = cells.obs[batch_key]
    known = column.notna().to_numpy()
    names = check_names(f"obs[{batch_key!r}]", column[known])
    known[known] = np.isin(names, batches)
    if not known.all():
        unseen = sorted(set(column[~known].astype(str)))
        print(
            f"no likelihood for {(~known).sum()} cells, since their batch was "
            f"not in training: {_some(unseen)}"
        )
    return known


def _likelihood(model, cells, known):
    """Log-likelihood in nats of the cells of known batches, NaN elsewhere."""
    import numpy as np

    score = np.full(cells.n_obs, np.nan, dtype=np.float32)
    score[known] = model.get_log_likelihood(cells[known].copy())
    print(
        f"obs['qbmvae_log_likelihood']: {known.sum()} cells, "
        f"{score[known].mean():.1f} nats a cell"
    )
    return score


def _same_file(one, other):
    one, other = Path(one), Path(other)
    return one.exists() and other.exists() and one.samefile(other)


def _some(names, n=5):
    """The first `n` names, in words."""
    more = [] if len(names) <= n else [f"and {len(names) - n} more"]
    return ", ".join([*names[:n], *more])


def _sentence(error):
    """What an exception says, on one line."""
    text = error.args[0] if isinstance(error, KeyError) else error
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(str(text).split())


def _number_of_genes(text):
    if text == "all":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f'give a whole number of at least 1, or "all", not {text!r}'
        )
    return int(text)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m qbmvae_mini",
        description="Train a QBM-VAE on your own cells, and map new ones.",
        epilog="Cells are raw counts in an .h5ad file, as scanpy writes it. "
        "Nothing is overwritten without --force.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_fit(commands.add_parser("fit", help="train a model and save it"))
    _add_embed(commands.add_parser("embed", help="map cells with a model"))
    return parser


def _add_fit(command):
    command.set_defaults(run=fit)
    add = command.add_argument
    add("cells", help=".h5ad file with raw counts")
    add("model", help="folder to make, for the model")
    add("--layer", help='where the counts are: a layer, "raw" or "X" (default)')
    add("--batch-key", help="column of obs that names the batch")
    add(
        "--n-genes",
        type=_number_of_genes,
        default=2000,
        help='how many genes to read, the most variable; or "all" '
        "(default 2000)",
    )
    add(
        "--latent",
        choices=tuple(WIDTHS),
        default="boltzmann",
        help="the prior: a Boltzmann machine (default) or its Gaussian rival",
    )
    add(
        "--n-latent",
        type=int,
        help="bits, an even number (default 64), or Gaussian numbers (32)",
    )
    add(
        "--max-epochs",
        type=int,
        default=400,
        help="held-out cells may stop the training earlier (default 400)",
    )
    add("--lr", type=float, default=3e-3, help="learning rate (default 0.003)")
    add(
        "--seed",
        type=int,
        default=0,
        help="of weights, noise and the choice of held-out cells (default 0)",
    )
    add(
        "--checkpoint",
        metavar="FILE",
        help="written during training; if it exists, training goes on from it",
    )
    add("--force", action="store_true", help="replace the model in the folder")


def _add_embed(command):
    command.set_defaults(run=embed)
    add = command.add_argument
    add("cells", help=".h5ad file with raw counts")
    add("model", help="folder that fit made")
    add(
        "out",
        help="file to write: the cells as they came, and obsm['X_qbmvae'], "
        "obs['qbmvae_energy'], obs['qbmvae_log_likelihood']",
    )
    add("--layer", help="where the counts are (default: as in training)")
    add("--force", action="store_true", help="replace the file")


if __name__ == "__main__":
    sys.exit(main())
