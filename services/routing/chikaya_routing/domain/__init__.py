"""Which administration is competent: plain Python and numpy, no IO beyond reading the data files of this package."""
