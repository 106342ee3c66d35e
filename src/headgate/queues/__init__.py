"""Named lines of tasks: in the memory of one process, or in front of the table that many nodes share."""
