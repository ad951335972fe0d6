"""Connections: opened, watched over, closed. Driver errors become ours here and nowhere else."""
