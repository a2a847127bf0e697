"""Clouds of points: meshes sampled on their surface, and sets of labelled clouds."""
