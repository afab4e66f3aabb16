"""Starting maps; see from_map."""
