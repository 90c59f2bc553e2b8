"""What a notebook of the book must look like, as functions that find faults.

`faults(path, notebook)` lists them, one sentence each; an empty list is
good. From the command line::

    python tests/notebooks/template.py book/01_energy.ipynb
"""

import ast
import re
import sys
from pathlib import Path
from statistics import median

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]

TAGS = {
    "nbval-check-output",
    "raises-exception",
    "hide-input",
    "hide-cell",
    "hint",
    "solution",
    "stub",
    "slide",
    "remove-cell",
}
ENDING = [
    "When it goes wrong",
    "Summary",
    "Check yourself",
    "Exercises",
    "Project",
    "Further reading",
]
GRADES = ("Warm-up", "Core", "Stretch")
MAX_COLUMNS = 80
MAX_LINES = 40
MAX_MEDIAN_LINES = 8

FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[ \t]*$", re.M | re.S)
DROPDOWN = re.compile(r"^(`{3,}){dropdown} Answer *\n(.*?)^\1 *$", re.M | re.S)
EXERCISE = re.compile(r"^(`{3,}){exercise}([^\n]*)\n(.*?)^\1 *$", re.M | re.S)
LABEL = re.compile(r"^:label: *(\S+) *$", re.M)
# A string that starts at the root of a disk, or at somebody's home.
ABSOLUTE_PATH = re.compile(r"""["'](?:/\w|~/|[A-Za-z]:[\\/])|/home/|/Users/""")
NETWORK = re.compile(
    r"https?://|ftp://|\burlopen\b|\burlretrieve\b|\brequests\.|\bhttpx\.|"
    r"\bpooch\b|^\s*[!%].*\b(?:curl|wget|pip|conda)\b",
    re.M,
)
TOKEN = re.compile(
    r"""(?i)(?:token|api_?key|secret|password)\w*["']?\s*[=:]\s*["'][^"']+["']"""
    r"|\b(?:DEV|hf|ghp|sk)[-_][A-Za-z0-9]{16,}"
)
# Parts of plt and of plotting that do not draw.
NO_FIGURE = {"rcParams", "style", "close", "get_cmap", "colormaps", "cm"}
# A function imported by itself would hide from `draws`.
BARE_PLOTTING = re.compile(
    r"from (?:qbmvae_mini\.plotting|matplotlib\S*) import"
)


def is_chapter(path):
    """Chapters proper have a number; they follow the whole template."""
    return re.match(r"\d\d_", Path(path).name) is not None


def tags(cell):
    """Tags of `cell`."""
    return cell.metadata.get("tags", [])


def code_cells(notebook):
    """Code cells that hold code, with their numbers."""
    return [
        (i, cell)
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def prose(cell):
    """Text of a markdown cell without its fenced blocks."""
    return FENCE.sub("", cell.source)


def parsed(source):
    """Syntax tree of a code cell; IPython's own lines are left out."""
    lines = source.splitlines()
    plain = ["" if re.match(r"\s*[%!?]", line) else line for line in lines]
    return ast.parse("\n".join(plain))


def section(notebook, title):
    """Cells of the section `## title`, its heading's cell included."""
    inside, cells = False, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heads = re.findall(r"^##? +(.+?) *$", prose(cell), re.M)
            if heads:
                inside = heads[-1] == title
        if inside:
            cells.append(cell)
    return cells


def draws(cell):
    """Whether a code cell shows a figure.

    It does if it calls `plotting.something(...)` or `plt.something(...)`, or
    ends with `fig`.
    """
    try:
        tree = parsed(cell.source)
    except SyntaxError:
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts = ast.unparse(node.func).split(".")
            module = {"plotting", "plt"} & set(parts[:-1])
            if module and not NO_FIGURE & set(parts):
                return True
    last = tree.body[-1] if tree.body else None
    return (
        isinstance(last, ast.Expr)
        and isinstance(last.value, ast.Name)
        and last.value.id in {"fig", "figure"}
    )


# --- every notebook -------------------------------------------------------


def format_faults(notebook):
    """The file itself: valid, with ids, for the right kernel."""
    ids = [cell.get("id") for cell in notebook.cells]
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        yield "older than nbformat 4.5, whose cells have ids"
    elif not all(ids) or len(set(ids)) < len(ids):
        yield "a cell id is missing or occurs twice"
    else:
        try:
            nbformat.validate(notebook)
        except nbformat.ValidationError as error:
            yield f"not a valid notebook: {str(error).splitlines()[0]}"
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield f"kernelspec is {kernel!r}, not 'python3'"


def tag_faults(notebook):
    """Only tags that mean something to the book."""
    for i, cell in enumerate(notebook.cells):
        for tag in set(tags(cell)) - TAGS:
            yield f"cell {i}: unknown tag {tag!r}"


def output_faults(notebook):
    """Outputs are kept where they are checked, and nowhere else."""
    last = 0
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            if "nbval-check-output" in tags(cell):
                yield f"cell {i}: nbval-check-output on a text cell"
            continue
        if "nbval-check-output" not in tags(cell):
            if cell.outputs or cell.execution_count is not None:
                yield f"cell {i}: has outputs or a count; run `make strip`"
            continue
        # nbval passes a tagged cell without outputs unseen.
        if not cell.outputs or not cell.execution_count:
            yield f"cell {i}: nothing stored to check; run `make refresh`"
        elif cell.execution_count <= last:
            yield f"cell {i}: counts do not increase; run `make refresh`"
        else:
            last = cell.execution_count
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stdout":
                continue
            data = set(output.get("data", {}))
            if not data or data - {"text/plain"}:
                kind = output.get("name", output.output_type)
                yield f"cell {i}: checked output is not plain text ({kind})"
        if draws(cell):
            yield f"cell {i}: a checked cell draws a figure"


def code_faults(notebook):
    """Cells are short and depend on nothing outside the repository."""
    lengths = []
    for i, cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        lengths.append(len(lines))
        if len(lines) > MAX_LINES:
            yield f"cell {i}: {len(lines)} lines, more than {MAX_LINES}"
        if max(map(len, lines)) > MAX_COLUMNS:
            yield f"cell {i}: a line is longer than {MAX_COLUMNS} columns"
        if ABSOLUTE_PATH.search(cell.source):
            yield f"cell {i}: absolute path"
        if NETWORK.search(cell.source):
            yield f"cell {i}: asks the network"
        if TOKEN.search(cell.source):
            yield f"cell {i}: looks like a token"
        if BARE_PLOTTING.search(cell.source):
            yield f"cell {i}: import the module `plotting`, not its functions"
        try:
            parsed(cell.source)
        except SyntaxError as error:
            if "raises-exception" not in tags(cell):
                yield f"cell {i}: not Python: {error}"
    if lengths and median(lengths) > MAX_MEDIAN_LINES:
        yield f"median cell has more than {MAX_MEDIAN_LINES} lines"


def figure_faults(notebook):
    """Every figure has alt text, a caption and a word on what to notice."""
    names = []
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not draws(cell):
            continue
        mystnb = cell.metadata.get("mystnb", {})
        if len(str(mystnb.get("image", {}).get("alt", ""))) < 10:
            yield f"cell {i}: figure without alt text"
        figure = mystnb.get("figure", {})
        if not str(figure.get("caption", "")).strip():
            yield f"cell {i}: figure without caption"
        names.append(figure.get("name"))
        # A solution is read beside its exercise, which says what to see.
        after = notebook.cells[i + 1 : i + 3]
        if "solution" not in tags(cell) and not any(
            c.cell_type == "markdown" and "what to notice" in c.source.lower()
            for c in after
        ):
            yield f'cell {i}: no "What to notice" after the figure'
    names = [name for name in names if name]
    if len(set(names)) < len(names):
        yield "two figures have one name"


# --- numbered chapters ----------------------------------------------------


def heading_faults(notebook):
    """Title and promise, then the sections in their order."""
    heads = [
        (i, len(marks), title)
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown"
        for marks, title in re.findall(r"^(#+) +(.+?) *$", prose(cell), re.M)
    ]
    titles = [head for head in heads if head[1] == 1]
    if len(titles) != 1 or heads[0] != titles[0] or titles[0][0] != 0:
        yield "exactly one `# Title`, in the first cell, before all headings"
        return
    promise = prose(notebook.cells[0]).split("\n", 1)[1:]
    first = re.split(r"^#", promise[0] if promise else "", flags=re.M)[0]
    paragraph = first.strip().split("\n\n")[0].strip()
    if not re.search(r"[.!?]$", paragraph):
        yield "the title is not followed by a promise of one sentence"
    elif re.search(r"[.!?]\s+[A-Z]", paragraph):
        yield "the promise after the title is more than one sentence"
    found = [title for _, level, title in heads if level == 2]
    if found[:1] != ["At a glance"]:
        yield "the first section is not `## At a glance`"
    if found[-len(ENDING) :] != ENDING:
        yield "the last sections are not, in order: " + ", ".join(ENDING)
    elif len(found) < len(ENDING) + 2:
        yield "no section of its own between `At a glance` and the ending"


def summary_faults(notebook):
    """Five bullets."""
    text = "\n".join(prose(c) for c in section(notebook, "Summary"))
    bullets = len(re.findall(r"^[-*] ", text, re.M))
    if bullets != 5:
        yield f"Summary has {bullets} bullets, not 5"


def question_faults(notebook):
    """Five questions, each followed by a folded answer."""
    cells = section(notebook, "Check yourself")
    text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    answers = DROPDOWN.findall(text)
    if len(answers) != 5:
        yield f"Check yourself has {len(answers)} folded answers, not 5"
    if any(not body.strip() for _, body in answers):
        yield "Check yourself has an empty answer"
    before = [DROPDOWN.sub("\0", text).split("\0")][0][:-1]
    for number, question in enumerate(before, 1):
        if "?" not in question:
            yield f"Check yourself: answer {number} follows no question"


def exercise_faults(notebook):
    """Six graded exercises or more, each with a solution that runs."""
    grades, labels = [], []
    open_exercise = None
    for cell in section(notebook, "Exercises"):
        if cell.cell_type == "code":
            if {"solution", "hide-cell"} <= set(tags(cell)):
                if cell.source.strip():
                    open_exercise = None
            elif "solution" in tags(cell):
                yield "a solution is not tagged hide-cell"
            continue
        found = EXERCISE.findall(cell.source)
        if len(found) > 1:
            yield "two exercises in one cell"
        for _, title, body in found:
            title = title.strip()
            if open_exercise is not None:
                yield f"exercise {open_exercise!r} has no tested solution"
            open_exercise = title
            grade = [g for g in GRADES if title.startswith(g)]
            if not grade:
                yield f"exercise {title!r} has no grade: " + ", ".join(GRADES)
            grades += grade
            label = LABEL.search(body)
            if label is None:
                yield f"exercise {title!r} has no label"
            else:
                labels.append(label[1])
    if open_exercise is not None:
        yield f"exercise {open_exercise!r} has no tested solution"
    if len(grades) < 6:
        yield f"{len(grades)} graded exercises, fewer than 6"
    for grade in set(GRADES) - set(grades):
        yield f"no exercise is graded {grade}"
    if len(set(labels)) < len(labels):
        yield "an exercise label occurs twice"


def prediction_faults(notebook):
    """The reader is asked to predict at least once."""
    if not any(
        cell.cell_type == "markdown" and "predict first" in cell.source.lower()
        for cell in notebook.cells
    ):
        yield 'no "Predict first" prompt'


def agreement_faults(notebook):
    """A visible assert compares own code with the library.

    Names are followed through assignments: what is computed with a function
    of the notebook, and what with a name imported from `qbmvae_mini`.
    """
    origin = {}

    def origins(node):
        return set().union(
            *(
                origin.get(name.id, set())
                for name in ast.walk(node)
                if isinstance(name, ast.Name)
            )
        )

    for _, cell in code_cells(notebook):
        hidden = {"solution", "hide-cell", "hide-input"} & set(tags(cell))
        try:
            tree = parsed(cell.source)
        except SyntaxError:
            continue
        for node in statements(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                origin[node.name] = {"own"}
            elif isinstance(node, ast.ImportFrom | ast.Import):
                module = getattr(node, "module", None) or ""
                for alias in node.names:
                    source = module or alias.name
                    name = alias.asname or alias.name.split(".")[0]
                    ours = source.split(".")[0] == "qbmvae_mini"
                    origin[name] = {"library"} if ours else set()
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                value = origins(node.value) if node.value else set()
                targets = getattr(node, "targets", None) or [node.target]
                for name in (n for t in targets for n in ast.walk(t)):
                    if isinstance(name, ast.Name):
                        origin[name.id] = value
            elif (
                isinstance(node, ast.Assert)
                and not hidden
                and origins(node.test) == {"own", "library"}
            ):
                return
    yield "no visible assert compares own code with the library"


def statements(tree):
    """Statements of a module in order, those inside loops and ifs too."""
    for node in tree.body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            for block in ("body", "orelse", "finalbody"):
                if getattr(node, block, None):
                    yield from statements(
                        ast.Module(getattr(node, block), type_ignores=[])
                    )


# --- the book as a whole --------------------------------------------------


def toc_entries(root=ROOT):
    """Entries of _toc.yml, as paths without suffix."""

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    yield value
                else:
                    yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text("utf-8"))))


def toc_faults(root=ROOT):
    """Contents and files agree."""
    entries = toc_entries(root)
    for entry in entries:
        files = [root / f"{entry}{suffix}" for suffix in (".ipynb", ".md")]
        found = sum(file.exists() for file in files)
        if found != 1:
            yield f"_toc.yml: {entry} stands for {found} files, not 1"
    for entry in {entry for entry in entries if entries.count(entry) > 1}:
        yield f"_toc.yml: {entry} is listed twice"
    for file in sorted((root / "book").glob("*.*")):
        if file.suffix not in (".ipynb", ".md"):
            continue
        if f"book/{file.stem}" not in entries:
            yield f"book/{file.name} is not in _toc.yml"


def label_faults(notebooks):
    """Exercise labels and figure names are unique in the whole book."""
    seen = {}
    for path, notebook in notebooks.items():
        names = []
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                for *_, body in EXERCISE.findall(cell.source):
                    names += LABEL.findall(body)
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            names += [figure["name"]] if figure.get("name") else []
        for name in names:
            if seen.setdefault(name, path) != path:
                yield f"{name} names something in {seen[name]} and in {path}"


ALWAYS = [
    format_faults,
    tag_faults,
    output_faults,
    code_faults,
    figure_faults,
]
CHAPTER = [
    heading_faults,
    summary_faults,
    question_faults,
    exercise_faults,
    prediction_faults,
    agreement_faults,
]


def faults(path, notebook):
    """Everything that is wrong with one notebook, one sentence each."""
    checks = ALWAYS + (CHAPTER if is_chapter(path) else [])
    return [fault for check in checks for fault in check(notebook)]


def read(path):
    """A notebook as it is in the file: no repair, no warning."""
    return nbformat.reader.reads(Path(path).read_text("utf-8"))


def main(paths):
    """Print the faults of `paths`, all notebooks of the book by default."""
    paths = paths or sorted((ROOT / "book").glob("*.ipynb"))
    found = [
        f"{path}: {fault}"
        for path in paths
        for fault in faults(path, read(path))
    ]
    print("\n".join(found) or "no faults")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
