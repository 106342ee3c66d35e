"""Where the log and what lies beside it are kept: SQLite, PostgreSQL, memory."""
