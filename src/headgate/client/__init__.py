"""The other ends of the doors: a program's and a worker's way to an engine, over the control socket or HTTP."""
