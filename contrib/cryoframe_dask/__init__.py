"""Executor ``dask``: the attempts of a run on any Dask cluster, a local one, or Slurm through dask-jobqueue."""
