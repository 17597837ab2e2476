"""Configure Sphinx. A build fetches nothing, and the pages load nothing from other hosts."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.util.typing import stringify_annotation

import ganlib

DOCS = Path(__file__).parent
REPOSITORY = "https://github.com/ganlib/ganlib"
sys.path.insert(0, str(DOCS / "_ext"))

project = "ganlib"
author = "The ganlib developers"
release = version = ganlib.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "inventories",
    "katex",
    "paper_links",
    "sessions",
]
exclude_patterns = ["_build", "_ext", "_inventories", "_static"]

html_theme = "furo"
html_title = f"ganlib {release.partition('+')[0]}"
html_copy_source = False
html_favicon = "_static/favicon.svg"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(DOCS / "_static" / "scorer.js")
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [
        {"name": "Issues", "url": f"{REPOSITORY}/issues", "html": "Report a problem", "class": ""},
        {
            "name": "GitHub",
            "url": REPOSITORY,
            "html": (DOCS / "_static" / "github.svg").read_text("utf-8"),
            "class": "",
        },
    ],
}

add_module_names = True
autosummary_generate = False  # write_pages does it
autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute that is a property too would be described twice
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# A copied block has its input lines only, without their prompts.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

intersphinx_mapping: dict[str, Any] = {}  # the extension "inventories" fills it


def public_names() -> dict[str, str]:
    """Map each public name, such as ganlib.losses.Latent, to the name that has a page: a contract's is in protocols."""
    names = {}
    for package in ganlib.__all__:
        module = importlib.import_module(f"ganlib.{package}")
        for name in module.__all__:
            contract = package != "protocols" and name in ganlib.protocols.__all__
            names[f"ganlib.{package}.{name}"] = f"ganlib.{'protocols' if contract else package}.{name}"
    return names


PUBLIC = public_names()


def page_of(full_name: str) -> str:
    """Write the page of a class, a function or a type alias."""
    package, _, name = full_name.rpartition(".")
    obj = getattr(sys.modules[package], name)
    if isinstance(obj, type):
        kind = "exception" if issubclass(obj, Exception) else "class"
        options = ["members:", "special-members: __call__, __iter__, __len__"]
        options += {
            "ganlib.errors": ["show-inheritance:"],
            "ganlib.losses": ["inherited-members: Module"],
            "ganlib.metrics": ["inherited-members: Metric, Module", "exclude-members: sync, update_called"],
            "ganlib.protocols": ["undoc-members:", "member-order: bysource"],
        }.get(package, [])
    else:
        kind = "function" if callable(obj) else "data"
        options = []
    title = name.replace("_", r"\_")
    directive = "\n   :".join([f".. auto{kind}:: {name}", *options])
    return f"{title}\n{'=' * len(title)}\n\n.. currentmodule:: {package}\n\n{directive}\n"


def write_pages(app: Any) -> None:
    """Write a page for each public name; autosummary would take longer for that than the rest of the build."""
    folder = DOCS / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    pages = {
        f"{name}.rst": page_of(name)
        for name in set(PUBLIC.values()) - {"ganlib.stacks.Norm", "ganlib.stacks.Activation"}
    }
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def find_public_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link a contract that a package re-exports to its page in ganlib.protocols, and the type aliases of signatures."""
    target = PUBLIC.get(node.get("reftarget", ""))
    if target is None or node.get("refdomain") != "py":
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


def skip_field(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples; their classes' docstrings say more than "alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def clean_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape stars of shapes such as (N, C, *spatial), and drop what the pages say otherwise."""
    if lines[:1] == ["Call self as a function."]:  # Python's own words for a __call__ without a docstring
        lines.clear()
    if what == "module":  # the page begins with its own summary
        del lines[: lines.index("") + 1 if "" in lines else len(lines)]
    lines[:] = [line if ">>>" in line else re.sub(r"(?<=[ (])\*(?=\w+\))", r"\\*", line) for line in lines]


ALIASES = {
    stringify_annotation(getattr(package, name), "smart"): f"~{package.__name__}.{name}"
    for package, name in [
        (ganlib.protocols, "Condition"),
        (ganlib.protocols, "Logits"),
        (ganlib.protocols, "Callback"),
        (ganlib.stacks, "Norm"),
        (ganlib.stacks, "Activation"),
    ]
}


def shorten_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, arguments: str | None, result: str | None
) -> tuple[str | None, str | None] | None:
    """Hide the (*args, **kwargs) of protocols, and write the names of type aliases, not what they are short for."""
    if what == "class" and getattr(obj, "_is_protocol", False):
        return "", ""
    for long, short in ALIASES.items():
        arguments = arguments and arguments.replace(long, short)
        result = result and result.replace(long, short)
    return arguments, result


def limit_sidebar(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """List pages and packages in the sidebar, but not each class: with those, a build takes twice as long."""
    toctree = context["toctree"]
    context["toctree"] = lambda **options: toctree(**{**options, "maxdepth": 2})


def link_source(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let "view" and "edit" on a generated page lead to the code with the docstring."""
    name = page.removeprefix("reference/generated/")
    if name in PUBLIC:
        package = name.rpartition(".")[0]
        module = sys.modules[getattr(getattr(sys.modules[package], name[len(package) + 1 :]), "__module__", package)]
        if not module.__name__.startswith("ganlib"):  # a type alias
            module = sys.modules[package]
        path = f"src/{Path(module.__file__).relative_to(Path(ganlib.__file__).parent.parent).as_posix()}"
        context["theme_source_view_link"] = f"{REPOSITORY}/blob/main/{path}"
        context["theme_source_edit_link"] = f"{REPOSITORY}/edit/main/{path}"


def setup(app: Any) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("missing-reference", find_public_name)
    app.connect("html-page-context", link_source)
    app.connect("html-page-context", limit_sidebar, priority=400)  # before furo, at 500
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("autodoc-process-docstring", clean_docstring, priority=400)  # before napoleon, at 500
