"""Names and addresses of the network: normalisation and matching, no I/O, no resolving."""
