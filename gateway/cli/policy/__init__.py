"""The `policy` group of commands: a bundle on its author's machine, and bundles of a running gateway."""
