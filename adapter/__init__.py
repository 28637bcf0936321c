"""Prometheus Alertmanager to Huawei Cloud COC, with nothing lost. `ls` of this folder is the architecture."""

__version__ = "0.2.0"
