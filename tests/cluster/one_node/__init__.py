"""A whole Kubernetes cluster on one machine, for tests: real programs, one node, no registry.

    python -m tests.cluster.one_node up
    python -m tests.cluster.one_node down

Everything runs in namespaces of its own (mount, network, process): ending their first process ends
the cluster, and its mounts, links and packet-filter rules are gone with it. Read in this order:
`layout` (files and addresses), `cluster` (the order of the steps), `node` (the namespaces),
`daemons`; then the parts of a cluster, `credentials`, `control_plane`, `runtime`, `network`,
`kubelet`; what runs in it, `binary_images`, `dns`, `storage`, `kuberay`, `chart`; thaw's own images,
`base_image`, `thaw_images`, `image_import`; and `machine`, which sees what is left behind.
"""
