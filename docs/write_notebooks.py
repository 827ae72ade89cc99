"""Runs docs/notebooks and keeps what they print and draw in them: python docs/write_notebooks.py [NAME...].

A notebook is edited in Jupyter or any editor; this makes it anew before it is committed, without counters and paths, so
that only what was changed differs. A cell tagged "measured" prints numbers that another machine may not repeat.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).with_name("notebooks")
#: What a forge and an editor need to know of them.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class _ThisPython(KernelSpecManager):
    """The interpreter that runs this, whatever kernels are registered on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def execute(notebook: NotebookNode, folder: Path = FOLDER, *, timeout: int = 300) -> NotebookNode:
    """Run every cell in a fresh kernel whose working directory is ``folder``; the notebook gets what came out.

    timeout: seconds that a cell may take.
    Raises nbclient.exceptions.CellExecutionError where a cell raises.
    """
    # Named sockets and not ports, which every user of the machine could reach.
    with tempfile.TemporaryDirectory() as settings:
        kernels = AsyncKernelManager(
            kernel_spec_manager=_ThisPython(), transport="ipc", ip=str(Path(settings) / "kernel")
        )
        client = NotebookClient(
            notebook,
            km=kernels,
            timeout=timeout,
            coalesce_streams=True,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        # None of the user's own start-up files, and figures in the notebook whatever backend is set.
        ours = {"IPYTHONDIR": settings, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        client.execute(cleanup_kc=True, env=os.environ | ours)
    return clean(notebook)


def clean(notebook: NotebookNode) -> NotebookNode:
    """Leave only what was written, printed and drawn."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        for output in cell.outputs:
            if "metadata" in output:
                output.metadata = NotebookNode()
            if "execution_count" in output:
                output.execution_count = None
            if len(output.get("data", ())) > 1:  # "<Figure size …>" beside the figure
                output.data.pop("text/plain", None)
    return notebook


def main(names: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        nbformat.write(execute(notebook), path)
        print(f"Wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main([Path(name).stem for name in sys.argv[1:]])
