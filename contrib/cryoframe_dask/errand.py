"""The first thing a Dask worker does for us, sent as code: it says so in words when nothing of ours is installed there.

Only the standard library and Dask may be imported here, and only inside the functions.
"""

from __future__ import annotations


def run(order: str) -> str:
    """Do what is ordered, or say why not."""
    import json
    import socket
    import sys

    from distributed import get_worker

    try:
        from cryoframe_dask import node
    except Exception as error:
        why = f"{type(error).__name__}: {error}; its python is {sys.version.split()[0]}"
        facts = {
            "refused": f"cannot import cryoframe_dask ({why})",
            "remedy": "Install the same cryoframe[dask] there as here.",
            "unfit": True,
        }
        return json.dumps({**facts, "node": socket.gethostname(), "worker": get_worker().address})
    return node.run(order)
