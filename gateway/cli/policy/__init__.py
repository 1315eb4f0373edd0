"""The `policy` group of commands: check, test, evaluate and explain a bundle, on its author's machine."""
