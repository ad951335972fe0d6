"""The data plane, in the order in which data flows.

`fence` says whether a checkpoint still means something, `turn` reads one window and writes it, `sweep` reads a table
again, `writer` applies rows in an order that constraints allow, `checkpoints` and `keys` are our tables in the
destination, `retention` deletes events, `verification` compares. Nothing here knows Kubernetes or the command line.
"""
