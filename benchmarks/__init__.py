"""Measurements that the README and the docs quote; each prints what stands there."""
