"""The certificate authority: make it, read it, and write what hosts need to trust it."""
