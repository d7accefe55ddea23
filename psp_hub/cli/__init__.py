"""The command line, `psp-hub`."""
