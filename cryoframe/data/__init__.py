"""The nouns of cryoframe: units, columns, tables and products; the standard library alone at import time."""
