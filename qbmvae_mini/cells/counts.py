"""Counts of some cells, handed out in mini-batches."""

import numpy as np
import torch


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
        self.counts = counts
        self.batch = torch.from_numpy(batch)
        self.unseen = unseen

    def __len__(self):
        return self.counts.shape[0]

    def __getitem__(self, index):
        """Some of the cells."""
        batch = self.batch.numpy()[index]
        return Cells(self.counts[index], batch, self.unseen)

    def minibatches(self, size, *, order=None, device="cpu"):
        """Yield ``(x, batch)``: counts (size, genes) and batch numbers (size,).

        Parameters
        ----------
        size : int
        order : ndarray of int, optional
            The cells to visit, in this order; by default all as they come.
        device : torch.device
        """
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), size):
            index = order[start : start + size]
            x = torch.from_numpy(self.counts[index].toarray())
            yield x.to(device), self.batch[index].to(device)
