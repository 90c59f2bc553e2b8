"""Counts of cells without their zeros, whole or in mini-batches.

Nine counts in ten are zero, and nothing here or after it writes them down:
from the file to the loss a cell is the list of its nonzero genes (compressed
sparse rows, CSR).
"""

import copy
from functools import cached_property

import numpy as np
import scipy.sparse
import torch

#: Counts up to this are looked up: most counts that are not zero are few.
FEW = 8

#: Memory for counts that are still to come, as a share of what is foretold.
SPARE = 1.05


class Counts:
    """A few cells as tensors: their nonzero genes, cell after cell.

    Cell ``i`` has ``count[starts[i]:starts[i + 1]]`` in the genes
    ``gene[starts[i]:starts[i + 1]]``. What is asked of counts alone is worked
    out when it is first asked for, and kept.

    Parameters
    ----------
    starts : Tensor of int32 or int64, shape (cells + 1,)
    gene : Tensor of the same, shape (nonzeros,)
    count : Tensor, shape (nonzeros,)
    n_genes : int
    """

    def __init__(self, starts, gene, count, n_genes):
        self.starts, self.gene, self.count = starts, gene, count
        self.n_genes = n_genes

    @classmethod
    def of(cls, x):
        """`x` itself, or a dense tensor (cells, genes) without its zeros.

        Raises
        ------
        ValueError
            If `x` is no matrix, or wants a gradient: counts are data.
        """
        if isinstance(x, cls):
            return x
        if x.dim() != 2:
            raise ValueError(
                f"counts are a matrix of cells x genes, not {tuple(x.shape)}"
            )
        if x.requires_grad:
            raise ValueError(
                "counts are data and get no gradient, but they have "
                "requires_grad=True; detach() them"
            )
        # Of flat booleans, made without a comparison, this takes half the time.
        place = x.to(torch.bool).flatten().nonzero().squeeze(1)
        n_cells, n_genes = x.shape
        ends = x.new_zeros(n_cells + 1, dtype=torch.long)
        ends[1:] = torch.count_nonzero(x, 1).cumsum(0)
        count = x.flatten().index_select(0, place)
        return cls(ends, place % n_genes, count, n_genes)

    @classmethod
    def of_rows(cls, matrix, rows):
        """These rows of a `scipy.sparse.csr_matrix`, in this order."""
        part = matrix[rows]
        return cls(
            torch.from_numpy(part.indptr),
            torch.from_numpy(part.indices),
            torch.from_numpy(part.data),
            matrix.shape[1],
        )

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, cells):
        """Neighbouring cells, by a slice: nothing is copied."""
        first, last, _ = cells.indices(len(self))
        start, end = self.starts[first], self.starts[last]
        return Counts(
            self.starts[first : last + 1] - start,
            self.gene[start:end],
            self.count[start:end],
            self.n_genes,
        )

    @property
    def shape(self):
        """Cells and genes."""
        return len(self), self.n_genes

    def dense(self):
        """With the zeros, a Tensor (cells, n_genes)."""
        x = self.count.new_zeros(len(self) * self.n_genes)
        return x.index_copy_(0, self.place, self.count).view(self.shape)

    def to(self, device):
        """The same counts on a device."""
        parts = (self.starts, self.gene, self.count)
        return Counts(*(part.to(device) for part in parts), self.n_genes)

    def log1p(self):
        """Log of one more, which leaves a zero a zero."""
        return Counts(self.starts, self.gene, self.count.log1p(), self.n_genes)

    @cached_property
    def library(self):
        """Counts of each cell, over these genes, (cells, 1)."""
        return self.sum_by_cell(self.count)[:, None]

    @cached_property
    def cell(self):
        """Number of the cell of each nonzero, (nonzeros,)."""
        cells = torch.arange(len(self), device=self.gene.device)
        return cells.repeat_interleave(
            self.starts.diff(), output_size=len(self.gene)
        )

    @cached_property
    def place(self):
        """Place of each nonzero in the flattened dense matrix."""
        return self.cell * self.n_genes + self.gene

    @cached_property
    def few(self):
        """Place of each nonzero in a table (FEW, n_genes), one row a count."""
        return self._row * self.n_genes + self.gene

    @cached_property
    def many(self):
        """Which nonzeros have no place in that table; fractions have none."""
        return (self.count != self._row + 1).nonzero().squeeze(1)

    @cached_property
    def _row(self):
        return (self.count - 1).clamp_(0, FEW - 1).to(self.gene.dtype)

    @cached_property
    def by_gene(self):
        """The transposed order: where each gene starts, cells, nonzeros.

        Returns
        -------
        starts : Tensor, shape (n_genes + 1,)
        cell, order : Tensor, shape (nonzeros,)
            The cell of each nonzero, gene after gene, and which it is.
        """
        # SciPy's counting sort takes a fifth of the time of torch's argsort.
        gene, starts = self.gene.cpu().numpy(), self.starts.cpu().numpy()
        order = np.arange(len(gene), dtype=gene.dtype)
        turned = scipy.sparse.csr_matrix(
            (order, gene, starts), shape=self.shape
        ).tocsc()
        parts = turned.indptr, turned.indices, turned.data
        device = self.gene.device
        return tuple(torch.from_numpy(p).to(device) for p in parts)

    def sum_by_cell(self, values):
        """Sums over each cell's nonzeros, (..., nonzeros) -> (..., cells)."""
        if len(self) == 1:  # a tenth of the time
            return values.sum(-1, keepdim=True)
        total = values.new_zeros((*values.shape[:-1], len(self)))
        return total.index_add_(-1, self.cell, values)


def stacked(pieces, n_cells):
    """One `scipy.sparse.csr_matrix` of several `Counts`, taken as they come.

    Each piece can be let go when it is in: at no time are two copies of all
    numbers held. Memory for all of them is taken at once, as much as the
    cells so far foretell, since much of it grows without a copy.

    Parameters
    ----------
    pieces : iterable of Counts
    n_cells : int
        Cells of all pieces.
    """
    gene, count = np.empty(0, np.int32), np.empty(0, np.float32)
    ends = np.zeros(n_cells + 1, np.int64)
    cells = 0
    for piece in pieces:
        start, end = ends[cells], ends[cells] + len(piece.gene)
        ends[cells : cells + len(piece) + 1] = start + piece.starts.cpu()
        cells += len(piece)
        if end > len(gene):
            _resize((gene, count), int(SPARE * end * n_cells / cells))
        gene[start:end] = piece.gene.cpu()
        count[start:end] = piece.count.cpu()
    _resize((gene, count), ends[-1])
    return scipy.sparse.csr_matrix(
        (count, gene, ends), shape=(n_cells, piece.n_genes)
    )


def _resize(arrays, size):
    for array in arrays:
        array.resize(size, refcheck=False)  # no view of it is in use


class Cells:
    """Counts of some cells, and the number of each cell's batch.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, shape (cells, genes)
    batch : ndarray of int, shape (cells,)
        -1 for a batch that the model has not seen.
    unseen : sequence of str
        Names of the batches that the model has not seen.
    """

    def __init__(self, counts, batch, unseen=()):
        self._all, self._rows = counts, None
        self.batch = torch.from_numpy(batch)
        self.unseen = unseen

    def __len__(self):
        return len(self.batch)

    def __getitem__(self, index):
        """Some of the cells: a list of rows, none of the counts is copied."""
        some = copy.copy(self)
        some._rows = self._row_numbers()[index]
        some.batch = self.batch[index]
        return some

    @property
    def counts(self):
        """The counts, `scipy.sparse.csr_matrix`; of some cells, a copy."""
        return self._all if self._rows is None else self._all[self._rows]

    def library(self):
        """UMIs of each cell, ndarray (cells,)."""
        total = np.asarray(self._all.sum(axis=1)).ravel()
        return total[self._row_numbers()]

    def minibatches(self, size, *, order=None, device="cpu"):
        """Yield ``(x, batch)``: `Counts` and batch numbers of `size` cells.

        Parameters
        ----------
        size : int
        order : ndarray of int, optional
            The cells to visit, in this order; by default all as they come.
        device : torch.device
        """
        order = np.arange(len(self)) if order is None else order
        rows = self._row_numbers()
        for start in range(0, len(order), size):
            index = order[start : start + size]
            x = Counts.of_rows(self._all, rows[index])
            yield x.to(device), self.batch[index].to(device)

    def _row_numbers(self):
        return np.arange(len(self)) if self._rows is None else self._rows
