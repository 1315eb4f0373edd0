"""Decisions: a vetted Rego bundle, engines that answer from it, and answers parsed so that only a yes is a yes."""
