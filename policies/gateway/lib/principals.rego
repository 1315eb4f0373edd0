# METADATA
# title: Principals
# description: What a principal may do. `roles` of data.gateway.config gives each role its meaning.
# scope: package
package gateway.lib.principals

import rego.v1

# The roles of a principal that data.json knows; an unknown role gives nothing. "anonymous" is the one role of an
# anonymous caller and of nobody else, so that a token cannot borrow it, nor a stranger another role.
roles(principal) := {"anonymous" | data.gateway.config.roles.anonymous} if principal.anonymous == true

roles(principal) := {name |
	some name in principal.roles
	name != "anonymous"
	data.gateway.config.roles[name]
} if {
	principal.anonymous == false
}

# Whether one of `roles` may run steps of `kind`.
runs(roles, kind) if {
	some name in roles
	some allowed in ["*", kind]
	allowed in data.gateway.config.roles[name].kinds
}
