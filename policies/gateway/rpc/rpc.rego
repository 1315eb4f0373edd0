# METADATA
# title: May this principal call this method?
# description: Input is policies/schemas/rpc.json. A call needs a role that lists it, and a mission of one's own tenant.
# scope: package
# schemas:
#   - input: schema.rpc
package gateway.rpc

import rego.v1

import data.gateway.lib.principals
import data.gateway.lib.separation
import data.gateway.lib.windows

default decision := {"allow": false, "reasons": [{
	"code": "rpc.undecided",
	"message": "no rule of the rpc policy decided this call",
	"rule": "data.gateway.rpc.decision",
}]}

decision := {"allow": allow, "reasons": array.slice([reason | some reason in deny], 0, 50)}

config := data.gateway.config

roles := principals.roles(input.principal)

# A yes needs both: something that grants the call, and nothing that denies it.
default allow := false

allow if {
	granted
	unrestricted
	count(deny) == 0
}

default granted := false

granted if listed(config.public_methods, input.rpc.service, input.rpc.method)

granted if {
	some role in roles
	listed(config.roles[role].methods, input.rpc.service, input.rpc.method)
}

granted if {
	own_method
	input.resource.submitter == input.principal.subject
	input.resource.tenant == input.principal.tenant
}

# Whether a role lists the method for missions that the caller submitted.
default own_method := false

own_method if {
	some role in roles
	listed(config.roles[role].own_methods, input.rpc.service, input.rpc.method)
}

# `methods` maps services to lists of methods; "*" stands for any of either.
listed(methods, service, method) if {
	some name in ["*", service]
	some allowed in ["*", method]
	allowed in methods[name]
}

deny contains {
	"code": "rpc.not_your_mission",
	"message": sprintf("your roles allow %s for missions that you submitted; this is none of them", [input.rpc.method]),
	"rule": "data.gateway.rpc.deny",
} if {
	not granted
	own_method
}

deny contains {
	"code": "rpc.method_not_granted",
	"message": sprintf("none of your roles (%s) lists %s/%s; see roles in data.gateway.config", [concat(", ", input.principal.roles), input.rpc.service, input.rpc.method]),
	"rule": "data.gateway.rpc.deny",
} if {
	not granted
	not own_method
}

deny contains {
	"code": "rpc.other_tenant",
	"message": "the mission belongs to another tenant",
	"rule": "data.gateway.rpc.deny",
} if {
	input.resource.tenant != input.principal.tenant
}

# What all tenants share: hooks are put in force, policy is looked at and changed, and what
# rules have used of all tenants is told, by and to the people of these tenants alone.
shared := {
	"gateway.v1.HookService": ["EnableHook", "DisableHook", "RollbackHook"],
	"gateway.v1.PolicyService": ["*"],
	"gateway.v1.StatisticsService": ["GetConstraintStatistics"],
}

default of_site := false

of_site if input.principal.tenant in config.site.tenants

deny contains {
	"code": "rpc.site_only",
	"message": "all tenants share this, and yours does not run the gateway; see site.tenants in data.gateway.config",
	"rule": "data.gateway.rpc.deny",
} if {
	listed(shared, input.rpc.service, input.rpc.method)
	not of_site
}

# What a call would show of the audit log: the events of a mission, which `granted` has
# looked at; those of a tenant; or the whole log, which holds every tenant's.
shows_events := {"ReadEvents", "QueryEvents", "ProveInclusion"}

audit_scopes := ({"mission"} | tenant_scope) | log_scope

tenant_scope := {"tenant" |
	some role in roles
	config.roles[role].audit_scope in {"tenant", "log"}
}

# The auditors of these tenants alone: those of others are not to see each other.
log_scope := {"log" |
	input.principal.tenant in config.audit.log_tenants
	some role in roles
	config.roles[role].audit_scope == "log"
}

default in_scope := false

in_scope if input.resource.audit_scope in audit_scopes

deny contains {
	"code": "rpc.audit_scope",
	"message": sprintf("this asks for more of the audit log than your roles show you (%s); see audit_scope of roles, and audit.log_tenants, in data.gateway.config", [concat(", ", audit_scopes)]),
	"rule": "data.gateway.rpc.deny",
} if {
	input.rpc.service == "gateway.v1.AuditService"
	input.rpc.method in shows_events
	not in_scope
}

# What data.json may restrict besides. Where it says nothing of it, nothing below is
# evaluated: hence the `else`, and restrictions apart from denials.
default unrestricted := false

unrestricted if {
	not config.closings
	not config.approvals.separation
} else if {
	separate
	closings == set()
}

deny contains reason if {
	not unrestricted
	some reason in restrictions
}

# Separation of duties: of a decision on an approval all that is compared has to be known.
default separate := false

separate if not config.approvals.separation

separate if input.rpc.method != "DecideApproval"

separate if {
	principal := input.principal
	resource := input.resource
	is_array(resource.approved_by)
	separation.excluded(principal) == set()
	separation.shared(principal, resource) == set()
	not separation.repeated(principal, resource)
}

# Time windows: an empty set means that all was looked at.
closings := windows.holding(
	"rpc", {
		"subjects": [input.principal.subject],
		"tenants": [input.principal.tenant],
		"roles": input.principal.roles,
		"methods": [concat("/", [input.rpc.service, input.rpc.method])],
	},
	input.time,
)

restrictions contains {
	"code": "rpc.closed_now",
	"message": sprintf("time: at %s, \"%s\" of closings in data.gateway.config closes this: %s", [minute, name, why]),
	"rule": "data.gateway.rpc.restrictions",
} if {
	minute := input.time.rfc3339
	some entry in closings
	name := entry.name
	why := entry.message
}

restrictions contains {
	"code": "rpc.approver_excluded",
	"message": sprintf("nobody with the role \"%s\" decides approvals; see approvals.separation.excluded_roles in data.gateway.config", [role]),
	"rule": "data.gateway.rpc.restrictions",
} if {
	input.rpc.method == "DecideApproval"
	some role in separation.excluded(input.principal)
}

restrictions contains {
	"code": "rpc.approver_shares_role",
	"message": sprintf("you and whoever submitted the mission both have the role \"%s\"; see approvals.separation.exclusive_roles in data.gateway.config", [role]),
	"rule": "data.gateway.rpc.restrictions",
} if {
	input.rpc.method == "DecideApproval"
	some role in separation.shared(input.principal, input.resource)
}

restrictions contains {
	"code": "rpc.approver_repeated",
	"message": "you have approved another step of this mission; see approvals.separation.distinct_approvers in data.gateway.config",
	"rule": "data.gateway.rpc.restrictions",
} if {
	input.rpc.method == "DecideApproval"
	separation.repeated(input.principal, input.resource)
}
