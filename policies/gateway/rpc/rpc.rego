# METADATA
# title: May this principal call this method?
# description: Input is policies/schemas/rpc.json. A call needs a role that lists it, and a mission of one's own tenant.
# scope: package
# schemas:
#   - input: schema.rpc
package gateway.rpc

import rego.v1

import data.gateway.lib.principals

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
