"""The core: pure functions and values. No clock, no random number, no file, no socket, no log, no await."""
