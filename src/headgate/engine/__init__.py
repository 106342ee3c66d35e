"""The machinery between the pure core and the world: lanes, commits, tasks, money, timers, messages."""
