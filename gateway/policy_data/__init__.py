"""What the default policies read of data.gateway.config, held to its form when a bundle is loaded.

Rego passes over a key that it does not know and a list that is none, so a word that is misspelt would close nothing, or
everything. Here it is a refusal. The host does not use what is read: the policies do.
"""
