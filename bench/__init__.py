"""Measures Salver against its peers. Not packaged; start with `bench/run --help`."""
