"""Facts and flow: hooks, discovery, events, journal, store, plan, runner, executors. No science here."""
