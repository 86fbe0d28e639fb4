"""Races of executables made by rescc against other inference engines; `python -m peers --help`."""
