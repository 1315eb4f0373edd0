# METADATA
# title: Secrets
# description: To whom and where `secrets` of data.gateway.config opens them. What it does not name is closed.
# scope: package
package gateway.lib.secrets

import rego.v1

# Whether every one of `names` is open to steps of `kind` of `tenant`.
opened(names, kind, tenant) if {
	is_array(names)
	every name in names { open_to(name, kind, tenant) }
}

# Those of `names` that are not.
closed(names, kind, tenant) := {name | some name in names; not open_to(name, kind, tenant)}

open_to(name, kind, tenant) if {
	entry := data.gateway.config.secrets[name]
	kind in entry.kinds
	tenant in entry.tenants
}

# Whether the secret may be sent by this operation to this host.
sends(name, operation, host) if {
	entry := data.gateway.config.secrets[name]
	operation in entry.effects
	host in entry.hosts
}
