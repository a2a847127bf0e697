"""Reports of runs: pictures and tables made from what a run has written."""
