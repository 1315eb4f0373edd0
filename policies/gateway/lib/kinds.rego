# METADATA
# title: Step kinds
# description: What `kinds` and `profiles` of data.gateway.config say of a step kind.
# scope: package
package gateway.lib.kinds

import rego.v1

# Whether a step of `kind` may run in `profile`: the kind's own (null: no other was asked for), or one that gives no
# more of anything.
fits(kind, profile) if profile == data.gateway.config.kinds[kind].profile

fits(kind, profile) if {
	profile == null
	data.gateway.config.kinds[kind]
}

fits(kind, profile) if {
	own := data.gateway.config.kinds[kind].profile
	profile != own
	profiles := data.gateway.config.profiles
	profiles[profile].wall_ms <= profiles[own].wall_ms
	profiles[profile].memory_bytes <= profiles[own].memory_bytes
	profiles[profile].cpu_shares <= profiles[own].cpu_shares
}
