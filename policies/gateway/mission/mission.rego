# METADATA
# title: May this principal run this plan?
# description: |
#   Input is policies/schemas/mission.json. A mission may have 10,000 steps: rules pass over them a fixed number of
#   times, and otherwise look at the kinds and profiles in use, which are few.
# scope: package
# schemas:
#   - input: schema.mission
package gateway.mission

import rego.v1

import data.gateway.lib.capabilities
import data.gateway.lib.kinds
import data.gateway.lib.limits
import data.gateway.lib.principals
import data.gateway.lib.secrets
import data.gateway.lib.windows

default decision := {"allow": false, "reasons": [{
	"code": "mission.undecided",
	"message": "no rule of the mission policy decided this plan",
	"rule": "data.gateway.mission.decision",
}]}

decision := {"allow": allow, "reasons": array.slice([reason | some reason in deny], 0, 50)}

config := data.gateway.config

roles := principals.roles(input.principal)

# A yes needs both: every kind in use granted, and nothing that denies the plan.
default allow := false

allow if {
	count([1 | some _ in described]) == step_count
	count(sizing_roles) > 0
	count(leveling_roles) > 0
	every use in uses {
		kinds.fits(use.kind, use.profile)
		principals.runs(roles, use.kind)
		secrets.opened(use.secrets, use.kind, input.principal.tenant)
	}
	unrestricted
	count(deny) == 0
}

step_count := count([1 | some _ in input.mission.steps])

described := [{"kind": step.step_type, "profile": step.profile, "taint": step.taint, "secrets": step.secrets} | some step in input.mission.steps]

# Every kind with every profile, label and secret that it is used with.
uses := {use | some use in described}

used_kinds := {use.kind | some use in uses}

# The roles with which the principal may run missions of this size.
sizing_roles contains role if {
	some role in roles
	step_count <= config.roles[role].steps_max
	input.mission.runs <= config.roles[role].steps_max
	input.mission.config.parallel_limit <= config.roles[role].parallel_limit_max
}

# The roles with which the principal may run missions of this security level.
leveling_roles contains role if {
	some role in roles
	input.mission.security_level in config.roles[role].security_levels
}

role_names := concat(", ", input.principal.roles)

# A step of `kind`, to name in a reason.
example(kind) := min({step.id | some step in input.mission.steps; step.step_type == kind})

deny contains {
	"code": "mission.too_large",
	"message": sprintf("%d steps (%v runs with their items) and parallel_limit %v are over steps_max or parallel_limit_max of each of your roles (%s); see roles in data.gateway.config", [step_count, input.mission.runs, input.mission.config.parallel_limit, role_names]),
	"rule": "data.gateway.mission.deny",
} if {
	count(sizing_roles) == 0
}

deny contains {
	"code": "mission.level_not_granted",
	"message": sprintf("none of your roles (%s) may run missions of the security level \"%v\"; see security_levels of roles in data.gateway.config", [role_names, level]),
	"rule": "data.gateway.mission.deny",
} if {
	count(sizing_roles) > 0 # whom no role lets run anything is told that
	level := input.mission.security_level
	count(leveling_roles) == 0
}

deny contains {
	"code": "mission.kind_unknown",
	"message": sprintf("step \"%s\": kinds in data.gateway.config has no entry for the step type \"%s\"", [step, kind]),
	"rule": "data.gateway.mission.deny",
} if {
	some kind in used_kinds
	not config.kinds[kind]
	step := example(kind)
}

deny contains {
	"code": "mission.kind_not_granted",
	"message": sprintf("step \"%s\": none of your roles (%s) may run steps of type \"%s\"; see roles in data.gateway.config", [step, names, kind]),
	"rule": "data.gateway.mission.deny",
} if {
	own := roles
	names := role_names
	some kind in used_kinds
	not principals.runs(own, kind)
	step := example(kind)
}

deny contains {
	"code": "mission.profile_too_wide",
	"message": sprintf("step \"%s\": the profile \"%v\" is not \"%s\", nor stricter than it in everything; see kinds and profiles in data.gateway.config", [step, profile, own]),
	"rule": "data.gateway.mission.deny",
} if {
	some use in uses
	kind := use.kind
	profile := use.profile
	not kinds.fits(kind, profile)
	own := config.kinds[kind].profile
	step := example(kind)
}

deny contains {
	"code": "mission.taint",
	"message": sprintf("step \"%s\": steps of type \"%s\" may not take data from: %s; see closed_taint of kinds in data.gateway.config", [step, kind, label]),
	"rule": "data.gateway.mission.deny",
} if {
	some use in uses
	kind := use.kind
	some label in config.kinds[kind].closed_taint
	label in use.taint
	step := example(kind)
}

deny contains {
	"code": "mission.taint",
	"message": sprintf("step \"%s\": steps of type \"%s\" may ask for %s, which may not take data from: %s; see taint.effects in data.gateway.config", [step, kind, op, label]),
	"rule": "data.gateway.mission.deny",
} if {
	some use in uses
	kind := use.kind
	some op in config.kinds[kind].effects
	some label in config.taint.effects[op]
	label in use.taint
	step := example(kind)
}

deny contains {
	"code": "mission.secret_closed",
	"message": sprintf("step \"%s\": secrets in data.gateway.config does not open \"%s\" to steps of type \"%s\" of tenant \"%s\"", [step, name, kind, tenant]),
	"rule": "data.gateway.mission.deny",
} if {
	tenant := input.principal.tenant
	some use in uses
	kind := use.kind
	some name in secrets.closed(use.secrets, kind, tenant)
	step := example(kind)
}

deny contains {
	"code": "mission.label_missing",
	"message": sprintf("the label \"%s\" is missing; see missions.required_labels in data.gateway.config", [label]),
	"rule": "data.gateway.mission.deny",
} if {
	some label in config.missions.required_labels
	not input.mission.labels[label]
}

deny contains {
	"code": "mission.label_reserved",
	"message": sprintf("the label \"%s\" begins with \"%s\"; see missions.reserved_label_prefixes in data.gateway.config", [label, prefix]),
	"rule": "data.gateway.mission.deny",
} if {
	some prefix in config.missions.reserved_label_prefixes
	some label, _ in input.mission.labels
	startswith(label, prefix)
}

deny contains {
	"code": "mission.forbidden_together",
	"message": sprintf("%s; see missions.forbidden_together in data.gateway.config", [message]),
	"rule": "data.gateway.mission.deny",
} if {
	some combination in config.missions.forbidden_together
	message := combination.message
	every kind in combination.kinds { kind in used_kinds }
}

# What data.json may restrict besides. Where it says nothing of it, nothing below is
# evaluated: hence the `else`, and restrictions apart from denials.
default unrestricted := false

unrestricted if {
	not config.closings
	not config.capabilities
	not config.missions.limits
} else if {
	closings == set()
	sizes_over == set()
	powerless == set()
}

deny contains reason if {
	not unrestricted
	some reason in restrictions
}

# Time windows: an empty set means that all was looked at.
closings := windows.holding(
	"mission", {
		"subjects": [input.principal.subject],
		"tenants": [input.principal.tenant],
		"roles": input.principal.roles,
		"labels": input.mission.labels,
		"kinds": used_kinds,
	},
	input.time,
)

restrictions contains {
	"code": "mission.closed_now",
	"message": sprintf("time: at %s, \"%s\" of closings in data.gateway.config closes this: %s", [minute, name, why]),
	"rule": "data.gateway.mission.restrictions",
} if {
	minute := input.time.rfc3339
	some entry in closings
	name := entry.name
	why := entry.message
}

# What the mission is over, of the limits for all and of those for its tenant.
sizes_over := limits.over(input.principal.tenant, {
	"steps_max": step_count,
	"runs_max": input.mission.runs,
	"parallel_limit_max": input.mission.config.parallel_limit,
})

figures := {"steps_max": "steps", "runs_max": "runs", "parallel_limit_max": "config.parallel_limit"}

restrictions contains {
	"code": "mission.limit",
	"message": sprintf("%s of the mission is %v, over missions.limits.%s.%s (%v) in data.gateway.config", [figure, size, where, limit, maximum]),
	"rule": "data.gateway.mission.restrictions",
} if {
	some finding in sizes_over
	limit := finding.limit
	size := finding.size
	where := finding.where
	maximum := finding.maximum
	figure := figures[limit]
}

# The kinds in use that could do nothing: every operation that they may ask for needs a grant, and none speaks of any.
# What a grant covers, the effect policy decides, with the arguments.
powerless contains kind if {
	required := config.capabilities.required
	some kind in used_kinds
	ops := config.kinds[kind].effects
	ops != []
	every op in ops { op in required }
	grants := capabilities.held({
		"subjects": [input.principal.subject],
		"tenants": [input.principal.tenant],
		"roles": roles,
		"labels": input.mission.labels,
		"kinds": [kind],
	})
	not spoken_of(grants, ops)
}

spoken_of(grants, ops) if {
	some grant in grants
	some op in ops
	capabilities.speaks_of(grant, op)
}

restrictions contains {
	"code": "mission.capability_missing",
	"message": sprintf("step \"%s\": all that steps of type \"%s\" may do needs a grant, and no grant of capabilities in data.gateway.config speaks of it for you", [step, kind]),
	"rule": "data.gateway.mission.restrictions",
} if {
	some kind in powerless
	step := example(kind)
}
