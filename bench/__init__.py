"""The benchmark: real adapter processes, a load generator, a sink that stands in for COC, and scripts to compare with.

`python -m bench` runs every case on loopback and prints each figure with its goal. The service uses none of this.
"""
