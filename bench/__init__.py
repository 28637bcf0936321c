"""The benchmark: real processes of the adapter, a load generator, a sink that is not the bottleneck, and baselines.

`python -m bench` runs every case on loopback and prints each figure beside its goal.
Nothing here is part of the service.
"""
