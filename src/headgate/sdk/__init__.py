"""Headgate from Python: workflows built in code, activities as functions, runs started and followed from a program.

`headgate` itself shows what is public here; a name is imported when it is first used.
"""
