"""What happened and what came of it: events, journal, state, store, provenance. Decides nothing."""
