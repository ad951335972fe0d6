"""The suite that runs on a real cluster, and the cluster: one node, made here from nothing within a minute.

`programs` builds Kubernetes, CoreDNS, etcd and helm, `images` makes the images, `node` starts and stops it all, and
`cluster` is what tests hold, which may be a cluster of somebody else as well (`--kubeconfig`). Binaries and images are
kept by content below PANTOGRAPH_CACHE. `python -m tests.cluster` starts one to play with.
"""
