"""Readers of the files microscopes write: movies, pictures, gain references, side-car metadata.

One module a format; the modules named in the entry points hold the hooks, the others are plain readers.
"""
