"""Strip the notebooks of the book, or store the outputs that tests compare.

::

    python tests/notebooks/outputs.py strip [notebooks]
    python tests/notebooks/outputs.py refresh [notebooks]

Only the text of cells tagged `nbval-check-output` stays, with their counts.
"""

import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
CHECKED = "nbval-check-output"
TIMEOUT = 120  # seconds a cell

#: Metadata that a cell, a notebook may keep; the rest is an editor's.
CELL_METADATA = {"tags", "mystnb", "slideshow"}
NOTEBOOK_METADATA = {"kernelspec", "language_info"}
KERNEL = {
    "display_name": "Python 3",
    "language": "python",
    "name": "python3",
}


def strip(notebook):
    """Remove, in place, all that running and editing leave behind."""
    keep_only(notebook.metadata, NOTEBOOK_METADATA)
    notebook.metadata["kernelspec"] = nbformat.from_dict(KERNEL)
    notebook.metadata["language_info"] = nbformat.from_dict({"name": "python"})
    for cell in notebook.cells:
        keep_only(cell.metadata, CELL_METADATA)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type != "code":
            continue
        if CHECKED in cell.metadata.get("tags", []):
            cell.outputs = [kept(o) for o in cell.outputs if is_text(o)]
        else:
            cell.outputs = []
            cell.execution_count = None
    return notebook


def keep_only(mapping, keys):
    """Delete all other keys."""
    for key in set(mapping) - keys:
        del mapping[key]


def is_text(output):
    """Whether an output is printed text or the text of a value."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return "text/plain" in output.get("data", {})


def kept(output):
    """An output with its text alone."""
    if "data" in output:
        keep_only(output.data, {"text/plain"})
        output.metadata = nbformat.from_dict({})
    return output


def refresh(notebook, folder):
    """Execute `notebook` in a fresh kernel, in place, then strip it."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    # Text printed in pieces is one output, as nbval sees it.
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return strip(notebook)


def joined(outputs):
    """Outputs with neighbouring pieces of one stream put together."""
    result = []
    for output in outputs:
        last = result[-1] if result else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            result.append(output)
    return result


def main(command, *paths):
    """Strip or refresh `paths`, all notebooks of the book by default."""
    for path in map(Path, paths or sorted((ROOT / "book").glob("*.ipynb"))):
        before = path.read_text("utf-8")
        notebook = nbformat.reads(before, as_version=4)
        if command == "refresh":
            refresh(notebook, path.parent)
        else:
            strip(notebook)
        after = nbformat.writes(notebook).rstrip("\n") + "\n"
        if after != before:
            path.write_text(after, "utf-8")
            print(f"{path.name}: changed")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("strip", "refresh"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
