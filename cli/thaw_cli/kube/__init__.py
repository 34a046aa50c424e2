"""The commands that speak to a cluster: connection, requests, and what they print."""
