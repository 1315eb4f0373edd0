# METADATA
# title: Separation of duties
# description: |
#   `approvals.separation` of data.gateway.config: who may not decide an approval although a role of theirs may. That
#   whoever submitted a mission does not approve its steps, the host holds to whatever data.json says.
# scope: package
package gateway.lib.separation

import rego.v1

# Roles of the principal with which nobody decides approvals.
excluded(principal) := {role |
	some role in data.gateway.config.approvals.separation.excluded_roles
	role in principal.roles
}

# Roles that the principal shares with whoever submitted the mission, and that both may not have.
shared(principal, resource) := {role |
	some role in data.gateway.config.approvals.separation.exclusive_roles
	role in principal.roles
	role in resource.submitter_roles
} if {
	is_array(resource.submitter_roles)
}

# Whether the principal has approved another step of the same mission, where each has to be approved by another person.
repeated(principal, resource) if {
	data.gateway.config.approvals.separation.distinct_approvers == true
	principal.subject in resource.approved_by
}
