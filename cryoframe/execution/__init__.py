"""Who does the work: admission, ledger, runner, executors and what runs inside a worker. No science here."""
