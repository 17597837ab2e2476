"""Execute the notebooks in place, and keep their outputs.

python -m tests.notebooks.execute draw train    # from the root of the checkout; draw takes seconds, train minutes
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

import ganlib

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read(name: str) -> NotebookNode:
    """The notebook in this checkout."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a folder, by this interpreter and with this ganlib; outputs replace those that were there."""
    kernels = KernelSpecManager(kernel_dirs=[])  # no installed one, which may start another interpreter
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels),
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
    )
    source = str(Path(ganlib.__file__).parents[1])
    with tempfile.TemporaryDirectory() as profile:  # without the start-up files of whoever runs this
        client.execute(cleanup_kc=True, env={**os.environ, "PYTHONPATH": source, "IPYTHONDIR": profile})
    # Which version of Python ran it would be another difference between two machines.
    notebook.metadata = nbformat.from_dict(METADATA)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["draw", "train"]:
        notebook = read(name)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        nbformat.write(notebook, NOTEBOOKS / f"{name}.ipynb")
