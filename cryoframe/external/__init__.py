"""Running other programs under supervision; no knowledge of products."""
