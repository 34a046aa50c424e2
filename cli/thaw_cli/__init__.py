"""The command line `thaw`."""
