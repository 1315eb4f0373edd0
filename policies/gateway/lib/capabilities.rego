# METADATA
# title: Capabilities
# description: |
#   `capabilities` of data.gateway.config: the operations in `required` need a grant that names what is asked for. A
#   grant opens nothing that roles, kinds, closed prefixes, hosts, commands or secrets close: it is asked for besides.
# scope: package
package gateway.lib.capabilities

import rego.v1

import data.gateway.lib.paths

# The grants that whoever asks holds: each selector that a grant has names something of `facts`.
held(facts) := [grant |
	some grant in data.gateway.config.capabilities.grants
	holds(grant, facts)
]

holds(grant, facts) if {
	apart := [selector |
		some selector in ["subjects", "tenants", "roles", "kinds"]
		wanted := grant[selector]
		found := [each | some each in facts[selector]; each in wanted]
		found == []
	]
	apart == []
	every label, value in object.get(grant, "labels", {}) { value == facts.labels[label] }
}

# Whether one grant covers an effect as a whole: operation, arguments and every secret that would be used.
covers(grant, op, args, secrets) if {
	names(grant, op, args)
	every secret in secrets { secret in grant.secrets }
}

names(grant, "file.read", args) if paths.closing(args.path, grant.read) != set()

names(grant, "file.write", args) if paths.closing(args.path, grant.write) != set()

names(grant, "http.request", args) if {
	some pattern in grant.hosts
	names_host(pattern, args.host)
	unless_listed(grant, "ports", args.port)
	unless_listed(grant, "methods", args.method)
}

names(grant, "command.run", args) if args.command in grant.commands

names(grant, op, _) if op in grant.effects

# Whether a pattern names a host: letter by letter, or, with "*.", every name below the rest.
names_host(pattern, host) if pattern == host

names_host(pattern, host) if {
	startswith(pattern, "*.")
	endswith(host, trim_prefix(pattern, "*"))
}

unless_listed(grant, field, value) if {
	not grant[field]
	value != null
}

unless_listed(grant, field, value) if value in grant[field]

# Whether a grant speaks of an operation at all, whatever it is asked to do.
speaks_of(grant, op) if grant[fields[op]]

speaks_of(grant, op) if op in grant.effects

fields := {"file.read": "read", "file.write": "write", "http.request": "hosts", "command.run": "commands"}
