"""Runs a model over a large data set on every core, or on every machine of a cluster."""
