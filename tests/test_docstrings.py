"""Public docstrings say what a caller has to know.

The convention, as far as a program can check it. Each public function, class and method

- has a docstring, its own or, for a method that overrides one, that of the class above;
- names every argument, and gives shapes where arrays go in or out, in its own docstring, its class's or
  its module's (which may say once what all functions there take), or refers to a function that does
  (as `load_diffusers`);
- says the unit of what has one (`UNITS`, `RETURNED`): of times, frequencies, rates, log-SNRs, likelihoods, in
  one of those, or refers likewise;
- says "Raises" or "raises" where it raises by itself, or refers likewise;
- has a source, an equation or an arXiv number, in one of those, or refers likewise;
- has an example, which pytest runs, or refers likewise; methods have that of their class.

Modules of helpers, which nothing outside of their folder needs, are left out, and of what is public for
other modules alone a docstring is asked, no more.
"""

import ast
import pathlib
import re

import pytest

import sagd_jax

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
HELPERS = {"arguments", "half_grid", "transform", "checks", "bands_and_wedges", "host", "__init__"}
# Public by name for other modules of the package alone: a docstring is enough.
INTERNAL = {
    "AttentionBlock", "Block", "Resample", "ResnetBlock", "as_float", "check_grid", "check_power",
    "check_prediction", "check_scalar", "checked", "expressed", "fold_in_range", "haar_along",
    "identity", "in_one_basis", "mean_over_grid", "noted", "on_grid", "patchify", "position_embedding",
    "first_pass", "gather", "same", "spectral", "spectrum_of", "static_field", "stored_covariance", "stored_process",
    "taper_of",
}  # fmt: skip
PATHS = {
    str(path.relative_to(PACKAGE)): path
    for folder in ("spectral", "diffusion")
    for path in sorted((PACKAGE / folder).rglob("*.py"))
    if path.stem not in HELPERS and (path.parent.name != "detector" or path.stem == "finding")
}
PATHS |= {
    name: PACKAGE / name
    for name in ("models/diffusers_weights.py", "models/unet.py", "models/dit.py", "run/saved.py")
}
PATHS |= {
    str(path.relative_to(PACKAGE)): path
    for path in sorted((PACKAGE / "show" / "plots").glob("*.py"))
    if path.stem not in (*HELPERS, "frame", "labels", "palette")
}
ARRAYS = re.compile(r"\b(Array|ArrayLike|ndarray)\b")
SHAPES = re.compile(r"\(\w*[^()]*,[^()]*\)|`\([^()]*\)`|\blike\b|scalar|shape|per coordinate")
REFERENCE = re.compile(
    r"\b(?:[Aa]s|[Aa]s for|of|[Ss]ee|[Ll]ike|is|[Ff]or|by|What) `\w[\w.]*`|^`\w+`"
)
SOURCE = re.compile(r"arXiv|\([0-9]+\w?\)|[Ee]quation|[Ss]ource")
# By what an argument is called: what has to be said of it, one way or another.
_TIME = r"\[0, 1\]|\(0, 1\]|in \[0, 1|0 \(data\)|from 0 to 1"
_FREQUENCY = r"cycles (?:per|in a) |hertz|Hz\b"
UNITS = {
    **dict.fromkeys(("t", "s", "times", "t_previous", "start"), _TIME),
    **dict.fromkeys(("bands", "band", "frequencies", "split"), _FREQUENCY),
    "bin_width": _FREQUENCY + "|units of x|values",
    "sample_rate": r"per second|Hz\b|hertz",
    "window": r"samples|pixels|sites",
    "length": r"samples|pixels|sites",
    "log_snr": r"alpha\^2 / sigma\^2|natural log|nats",
}
# The same of what functions of these names return.
RETURNED = {
    "log_likelihood": "nats",
    "log_prob": "nats",
    "bound": "nats",
    "bits_per_dim": r"bits\b",
}
TREES = {name: ast.parse(path.read_text()) for name, path in PATHS.items()}
CLASSES = {
    node.name: node
    for tree in TREES.values()
    for node in tree.body
    if isinstance(node, ast.ClassDef)
}


def members(cls):
    return {n.name: n for n in cls.body if isinstance(n, ast.FunctionDef)}


def inherits_words(name, cls):
    """Whether a class above has a method of this name with a docstring."""
    for base in (getattr(b, "id", "") for b in cls.bases):
        above = CLASSES.get(base)
        if above is not None:
            own = members(above).get(name)
            if (own is not None and ast.get_docstring(own)) or inherits_words(name, above):
                return True
    return False


def public(tree):
    """Public functions and classes of a module, and their methods, each with its class."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node, None
            if isinstance(node, ast.ClassDef):
                for name, child in members(node).items():
                    if not name.startswith("_"):
                        yield f"{node.name}.{name}", child, node


def lacks(node, owner, module):
    """What a docstring does not say, of what the convention asks for."""
    own = ast.get_docstring(node) or ""
    if not own:
        return [] if owner and inherits_words(node.name, owner) else ["docstring"]
    if node.name in INTERNAL:
        return []
    around = "\n".join((own, ast.get_docstring(owner) or "" if owner else "", module))
    refers, found = REFERENCE.search(own), []
    if isinstance(node, ast.FunctionDef) and not refers:
        arguments = [
            a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        ]
        for name in arguments:
            if name not in ("self", "cls") and not re.search(rf"\b{re.escape(name)}\b", around):
                found.append(f"argument {name}")
        annotations = [ast.unparse(a.annotation) for a in node.args.args if a.annotation]
        annotations += [ast.unparse(node.returns)] if node.returns else []
        if any(ARRAYS.search(a) for a in annotations) and not SHAPES.search(around):
            found.append("shapes")
        found += [
            f"unit of {name}"
            for name in arguments
            if name in UNITS and not re.search(UNITS[name], around)
        ]
        if not re.search(RETURNED.get(node.name, ""), around):
            found.append("unit of what it returns")
        if any(isinstance(n, ast.Raise) for n in ast.walk(node)) and not re.search(
            r"[Rr]aise", own
        ):
            found.append("errors")
    if owner is None and not refers and ">>>" not in own and "Example" not in own:
        found.append("example")
    if not refers and not SOURCE.search(around):
        found.append("source")
    return found


@pytest.mark.parametrize("name", PATHS)
def test_public_docstrings_say_what_a_caller_has_to_know(name):
    tree = TREES[name]
    module = ast.get_docstring(tree) or ""
    wanting = {what: lacks(node, owner, module) for what, node, owner in public(tree)}
    assert not {what: words for what, words in wanting.items() if words}


def test_what_is_missing_is_found():
    source = 'def f(x: Array, n):\n    """Doubles it."""\n    raise ValueError\n'
    (node,) = ast.parse(source).body
    assert lacks(node, None, "") == [
        "argument x",
        "argument n",
        "shapes",
        "errors",
        "example",
        "source",
    ]
    words = "Doubles x, `(n,)`, equation (1); raises ValueError.\n\n    >>> 1\n    1\n    "
    (node,) = ast.parse(source.replace("Doubles it.", words)).body
    assert lacks(node, None, "") == []
    units = (
        'def log_prob(t, band):\n    """Of t and band, (1), as is.\n\n    >>> 1\n    1\n    """\n'
    )
    (node,) = ast.parse(units).body
    assert lacks(node, None, "") == ["unit of t", "unit of band", "unit of what it returns"]
    (node,) = ast.parse(units.replace("as is", "nats at t in [0, 1], in cycles per sample")).body
    assert lacks(node, None, "") == []
    (node,) = ast.parse("class C:\n    def f(self): ...\n").body
    assert lacks(members(node)["f"], node, "") == ["docstring"]
