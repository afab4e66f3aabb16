"""Ways to tell somebody of an alarm: log, command, webhook, mail."""
