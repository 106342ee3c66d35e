"""The built-in activities. They know ports and values, no engine."""
