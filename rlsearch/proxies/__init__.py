"""Proxies: a dataset and a small network, trained with many candidates at once."""
