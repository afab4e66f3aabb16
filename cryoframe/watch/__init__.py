"""Files land, are recognised as complete, and enter a run. Raw data are only ever read."""
