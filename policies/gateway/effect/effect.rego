# METADATA
# title: May the host perform this effect?
# description: Input is policies/schemas/effect.json. The host has checked the hook's own list of effects before.
# scope: package
# schemas:
#   - input: schema.effect
package gateway.effect

import rego.v1

import data.gateway.lib.capabilities
import data.gateway.lib.paths
import data.gateway.lib.principals
import data.gateway.lib.secrets
import data.gateway.lib.windows

default decision := {"allow": false, "reasons": [{
	"code": "effect.undecided",
	"message": "no rule of the effect policy decided this effect",
	"rule": "data.gateway.effect.decision",
}]}

decision := {"allow": allow, "reasons": array.slice([reason | some reason in deny], 0, 50)}

config := data.gateway.config

op := input.effect.op

args := input.effect.args

# A yes needs both: the kind may ask for the operation, a rule opens its arguments, and nothing denies it.
default allow := false

allow if {
	declared
	open
	secrets_open
	is_array(input.taint) # so that nothing hides where its data is from
	unrestricted
	count(deny) == 0
}

default declared := false

declared if op in config.kinds[input.step.step_type].effects

# One rule for each operation: an operation without a rule is denied.
default open := false

open if closing == set()

open if {
	op == "http.request"
	args.method in host.methods
	args.port in host.ports
}

open if {
	op == "timer.sleep"
	args.ms <= config.timer.sleep_ms_max
}

open if {
	op == "approval.request"
	args.expires_in_seconds <= config.approvals.expires_seconds_max
	open_approvers := {role | some role in config.approvals.approvers}
	every role in args.approvers { role in open_approvers }
}

# What the nested mission may do, its own admission decides, as a mission of the same principal.
open if op == "mission.run"

# Which arguments the command takes, the host checks against the same entry.
open if command

# The entry of the command that is asked for, by the name that its command line begins with.
command := config.commands[args.command] if op == "command.run"

# Every secret that the effect would use is open to this kind and tenant, for this operation and host.
default secrets_open := false

secrets_open if input.effect.secrets == []

secrets_open if {
	secrets.opened(input.effect.secrets, input.step.step_type, input.principal.tenant)
	every name in input.effect.secrets { secrets.sends(name, op, args.host) }
}

access := "write" if op == "file.write"

access := "read" if op == "file.read"

closing := paths.closing(args.path, config.files[access].closed_prefixes)

# The entry of the host that is asked for, by the exact name that the connection will use.
host := config.http.hosts[args.host] if op == "http.request"

deny contains {
	"code": "effect.not_declared",
	"message": sprintf("steps of type \"%s\" may not ask for %s; see kinds in data.gateway.config", [input.step.step_type, op]),
	"rule": "data.gateway.effect.deny",
} if {
	not declared
}

deny contains {
	"code": "effect.path_closed",
	"message": sprintf("args.path: \"%s\" lies under \"%s\", which files.%s.closed_prefixes in data.gateway.config closes", [path, prefix, list]),
	"rule": "data.gateway.effect.deny",
} if {
	path := args.path
	list := access
	some prefix in closing
}

deny contains {
	"code": "effect.host_closed",
	"message": sprintf("args.url: http.hosts in data.gateway.config has no entry for \"%s\"", [args.host]),
	"rule": "data.gateway.effect.deny",
} if {
	op == "http.request"
	not host
}

deny contains {
	"code": "effect.command_closed",
	"message": sprintf("args.argv: commands in data.gateway.config has no entry for \"%s\"", [args.command]),
	"rule": "data.gateway.effect.deny",
} if {
	op == "command.run"
	not command
}

deny contains {
	"code": "effect.port_closed",
	"message": sprintf("args.url: the entry of \"%s\" in http.hosts in data.gateway.config does not open port %v", [args.host, port]),
	"rule": "data.gateway.effect.deny",
} if {
	ports := host.ports
	port := args.port
	not port in ports
}

deny contains {
	"code": "effect.method_closed",
	"message": sprintf("args.method: the entry of \"%s\" in http.hosts in data.gateway.config does not open %v", [args.host, method]),
	"rule": "data.gateway.effect.deny",
} if {
	methods := host.methods
	method := args.method
	not method in methods
}

deny contains {
	"code": "effect.secret_closed",
	"message": sprintf("secrets in data.gateway.config does not open \"%s\" to steps of type \"%s\" of tenant \"%s\"", [name, kind, tenant]),
	"rule": "data.gateway.effect.deny",
} if {
	kind := input.step.step_type
	tenant := input.principal.tenant
	some name in secrets.closed(input.effect.secrets, kind, tenant)
}

deny contains {
	"code": "effect.secret_closed",
	"message": sprintf("secrets in data.gateway.config does not open \"%s\" to %s towards \"%s\"", [name, operation, target]),
	"rule": "data.gateway.effect.deny",
} if {
	operation := op
	target := args.host
	some name in input.effect.secrets
	not secrets.sends(name, operation, target)
}

deny contains {
	"code": "effect.approver_closed",
	"message": sprintf("args.approvers: \"%s\" is not among approvals.approvers in data.gateway.config", [role]),
	"rule": "data.gateway.effect.deny",
} if {
	op == "approval.request"
	open_approvers := {name | some name in config.approvals.approvers}
	some role in args.approvers
	not role in open_approvers
}

deny contains {
	"code": "effect.approval_too_long",
	"message": sprintf("args.expires_in_seconds: %v is over approvals.expires_seconds_max (%v) in data.gateway.config", [args.expires_in_seconds, config.approvals.expires_seconds_max]),
	"rule": "data.gateway.effect.deny",
} if {
	op == "approval.request"
	args.expires_in_seconds > config.approvals.expires_seconds_max
}

deny contains {
	"code": "effect.sleep_too_long",
	"message": sprintf("args.ms: %v is over timer.sleep_ms_max (%v) in data.gateway.config", [args.ms, config.timer.sleep_ms_max]),
	"rule": "data.gateway.effect.deny",
} if {
	op == "timer.sleep"
	args.ms > config.timer.sleep_ms_max
}

# Whatever kind of step asks: mission and step policy look at the kind, this at the operation.
deny contains {
	"code": "effect.taint",
	"message": sprintf("taint: %s may not take data from: %s; see taint.effects in data.gateway.config", [operation, label]),
	"rule": "data.gateway.effect.deny",
} if {
	operation := op
	some label in config.taint.effects[operation]
	label in input.taint
}

# What data.json may restrict besides. Where it says nothing of it, nothing below is
# evaluated: hence the `else`, and restrictions apart from denials.
default unrestricted := false

unrestricted if {
	not config.capabilities
	not config.closings
} else if {
	covered
	closings == set()
}

deny contains reason if {
	not unrestricted
	some reason in restrictions
}

# Time windows: an empty set means that all was looked at.
closings := windows.holding(
	"effect", {
		"subjects": [input.principal.subject],
		"tenants": [input.principal.tenant],
		"roles": input.principal.roles,
		"labels": input.mission.labels,
		"kinds": [input.step.step_type],
		"effects": [op],
		"commands": [name | name := args.command; op == "command.run"],
	},
	input.time,
)

restrictions contains {
	"code": "effect.closed_now",
	"message": sprintf("time: at %s, \"%s\" of closings in data.gateway.config closes this: %s", [minute, name, why]),
	"rule": "data.gateway.effect.restrictions",
} if {
	minute := input.time.rfc3339
	some entry in closings
	name := entry.name
	why := entry.message
}

# Capabilities: where data.json asks for a grant, one that the submitter holds covers the effect as a whole.
default covered := false

covered if not config.capabilities

covered if {
	asked := op
	required := config.capabilities.required
	not asked in required
}

covered if {
	some grant in grants
	capabilities.covers(grant, op, args, input.effect.secrets)
}

# The grants that the submitter holds for steps of this type.
grants := capabilities.held({
	"subjects": [input.principal.subject],
	"tenants": [input.principal.tenant],
	"roles": principals.roles(input.principal),
	"labels": input.mission.labels,
	"kinds": [input.step.step_type],
})

# What a grant would have to name.
default target := "effect.op"

target := concat("", ["args.path: ", args.path]) if {
	access
	is_string(args.path)
}

target := concat("", ["args.url: host ", args.host]) if {
	op == "http.request"
	is_string(args.host)
}

target := concat("", ["args.argv: command ", args.command]) if {
	op == "command.run"
	is_string(args.command)
}

restrictions contains {
	"code": "effect.capability_missing",
	"message": sprintf("%s: no grant of capabilities in data.gateway.config covers %s by a step of type \"%s\" for \"%s\" of tenant \"%s\"; it holds: %s", [target, op, input.step.step_type, input.principal.subject, input.principal.tenant, concat(", ", [grant.name | some grant in grants])]),
	"rule": "data.gateway.effect.restrictions",
} if {
	not covered
}
