# METADATA
# title: Limits of missions
# description: |
#   `missions.limits` of data.gateway.config: how large a mission may be, for all (`default`) and for a tenant. Both hold,
#   so an entry for a tenant never gives more than the default. What one role's missions may be, `roles` says; what their
#   effects may move and leave behind, the host reads from `limits`.
# scope: package
package gateway.lib.limits

import rego.v1

# The limits that a mission of `tenant` is over; `sizes` has the figure of each by its name. Undefined where one of them
# is no number, so that an empty set always means that all were looked at.
over(tenant, sizes) := {finding |
	some where, entry in entries(tenant)
	some limit, maximum in entry
	sizes[limit] > maximum
	finding := {"where": where, "limit": limit, "maximum": maximum, "size": sizes[limit]}
} if {
	is_string(tenant)
	every limit in ["steps_max", "runs_max", "parallel_limit_max"] { is_number(sizes[limit]) }
}

# The entries that hold for a tenant, by where they stand.
entries(tenant) := object.union({"default": common}, {concat("", ["tenants.", tenant]): own}) if {
	limits := data.gateway.config.missions.limits
	common := object.get(limits, "default", {})
	own := object.get(object.get(limits, "tenants", {}), tenant, {})
}
