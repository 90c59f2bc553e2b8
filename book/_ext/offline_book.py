"""What the book needs of Sphinx beyond settings.

- Chapters are executed anew when the library or the data change:
  jupyter-cache looks at the notebooks alone.
- MathJax is copied into the site, so that no page asks another host.
- Thebe's scripts, which Jupyter Book always adds, are taken out.
- In docstrings, "Attributes" look like "Parameters", and a colon in the
  comment of a constant is a colon.
"""

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

HASHED = ("qbmvae_mini/**/*.py", "data/**/*")
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def code_hash(root):
    """One hash over the library and the data under `root`."""
    digest = hashlib.sha256()
    files = {f for pattern in HASHED for f in Path(root).glob(pattern)}
    for file in sorted(f for f in files if f.is_file()):
        digest.update(str(file.relative_to(root)).encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def key_execution_cache(app, config):
    """Keep one execution cache: the one of the code as it is."""
    caches = Path(app.outdir).parent / "executed"
    current = caches / code_hash(app.srcdir)
    for old in caches.glob("*"):
        if old != current:
            shutil.rmtree(old)
    config.nb_execution_cache_path = str(current)


def drop_thebe(app, pagename, templatename, context, doctree):
    """Take Thebe's two scripts off the page."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in str(getattr(script, "filename", script) or "")
        and "THEBE" not in getattr(script, "attributes", {}).get("body", "")
    ]


def copy_mathjax(app, exception):
    """Copy MathJax and its fonts to where `mathjax_path` says they are."""
    if exception is not None or app.builder.format != "html":
        return
    package = find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
    source = Path(package) / "static" / "mathjax"
    for name in MATHJAX:
        target = Path(app.outdir) / "_static" / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source / name, target)


def keep_colon(app, what, name, obj, options, lines):
    """Undo napoleon's reading of `text: more` as `type: text`."""
    kinds = ("attribute", "data", "property")
    if what in kinds and lines and lines[-1].startswith(":type: "):
        start = lines.pop().removeprefix(":type: ")
        lines[0] = f"{start}: {lines[0]}"


def setup(app):
    """Connect the above to Sphinx's events."""
    app.connect("autodoc-process-docstring", keep_colon, priority=900)
    app.connect("config-inited", key_execution_cache)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
