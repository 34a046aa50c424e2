"""Tasks: one file each, all of the protocol in protocol.py; registry.py finds them by name."""
