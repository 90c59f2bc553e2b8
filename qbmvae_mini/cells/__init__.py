"""Cells: counts of genes, read, chosen, bundled or simulated."""

from qbmvae_mini.cells.counts import Cells
from qbmvae_mini.cells.genes import choose_genes, counted_genes
from qbmvae_mini.cells.reading import read_cells

__all__ = ["Cells", "choose_genes", "counted_genes", "read_cells"]
