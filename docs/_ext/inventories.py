"""Give intersphinx inventories that are text files in this repository, so that a build needs no network.

Each ``_inventories/<project>.txt`` has comments, then the address of a documentation. Each further line is a role, a
name and a path below that address, where ``$`` is short for the name.
"""

import zlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "_inventories"


def read(path: Path) -> tuple[str, list[tuple[str, str, str]]]:
    """Return the address of a documentation, and the (role, name, path) of each of its names."""
    lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip() and line[0] != "#"]
    return lines[0][0], [(role, name, where.replace("$", name)) for role, name, where in lines[1:]]


def compile_inventories(app: Any, config: Any) -> None:
    """Write the inventories in the format of Sphinx, and register them with intersphinx."""
    folder = Path(app.doctreedir) / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.txt")):
        address, names = read(path)
        head = f"# Sphinx inventory version 2\n# Project: {path.stem}\n# Version: \n# compressed using zlib\n"
        body = "".join(f"{name} {role} 1 {where} -\n" for role, name, where in names)
        compiled = folder / f"{path.stem}.inv"
        compiled.write_bytes(head.encode() + zlib.compress(body.encode(), 9))
        config.intersphinx_mapping[path.stem] = (address, str(compiled))


def setup(app: Any) -> dict[str, bool]:
    """Run before intersphinx checks its configuration."""
    app.connect("config-inited", compile_inventories, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
