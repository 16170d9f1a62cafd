"""Exports that other tools wrote, in `files/`, and the scripts that let them write these.

A script is run in an environment of its own with the packages that its first lines name, in this folder:
`python make_backtesting.py`. What is valid input for the tool and small enough to be checked by hand is enough.
"""
