# METADATA
# title: May this step run, with these inputs?
# description: Input is policies/schemas/step.json; its parameters are resolved and sanitized.
# scope: package
# schemas:
#   - input: schema.step
package gateway.step

import rego.v1

import data.gateway.lib.kinds
import data.gateway.lib.paths
import data.gateway.lib.principals
import data.gateway.lib.windows

default decision := {"allow": false, "reasons": [{
	"code": "step.undecided",
	"message": "no rule of the step policy decided this step",
	"rule": "data.gateway.step.decision",
}]}

decision := {"allow": allow, "reasons": array.slice([reason | some reason in deny], 0, 50)}

config := data.gateway.config

kind := input.step.step_type

# A yes needs both: the kind granted in this profile, its parameters open, and nothing that denies the step.
default allow := false

allow if {
	granted
	fits
	open
	is_array(input.taint) # so that a step that hides where its data is from is none that may take it
	unrestricted
	count(deny) == 0
}

default granted := false

granted if principals.runs(principals.roles(input.principal), kind)

default fits := false

fits if kinds.fits(kind, input.step.profile)

# What the parameters of some kinds have to fulfil before anything runs; what a step asks for later, the effect
# policy decides. A kind that is not named here has nothing to check.
default open := false

open if closing == set()

open if method in config.http.methods

open if {
	name := kind
	not name in {"create_file", "read_file", "http"}
}

access := "write" if kind == "create_file"

access := "read" if kind == "read_file"

closing := paths.closing(input.parameters.path, config.files[access].closed_prefixes)

method := object.get(input.parameters, "method", "GET") if kind == "http"

deny contains {
	"code": "step.kind_unknown",
	"message": sprintf("kinds in data.gateway.config has no entry for the step type \"%s\"", [kind]),
	"rule": "data.gateway.step.deny",
} if {
	name := kind
	not config.kinds[name]
}

deny contains {
	"code": "step.kind_not_granted",
	"message": sprintf("none of your roles (%s) may run steps of type \"%s\"; see roles in data.gateway.config", [concat(", ", input.principal.roles), kind]),
	"rule": "data.gateway.step.deny",
} if {
	not granted
}

deny contains {
	"code": "step.profile_too_wide",
	"message": sprintf("the profile \"%v\" is not \"%s\", nor stricter than it in everything; see kinds and profiles in data.gateway.config", [input.step.profile, config.kinds[kind].profile]),
	"rule": "data.gateway.step.deny",
} if {
	not fits
}

deny contains {
	"code": "step.taint",
	"message": sprintf("steps of type \"%s\" may not take data from: %s; see closed_taint of kinds in data.gateway.config", [name, label]),
	"rule": "data.gateway.step.deny",
} if {
	name := kind
	some label in config.kinds[name].closed_taint
	label in input.taint
}

deny contains {
	"code": "step.path_closed",
	"message": sprintf("parameters.path: \"%s\" lies under \"%s\", which files.%s.closed_prefixes in data.gateway.config closes", [path, prefix, list]),
	"rule": "data.gateway.step.deny",
} if {
	path := input.parameters.path
	list := access
	some prefix in closing
}

deny contains {
	"code": "step.method_closed",
	"message": sprintf("parameters.method: \"%v\" is not among http.methods in data.gateway.config", [method]),
	"rule": "data.gateway.step.deny",
} if {
	method
	not open
}

# What data.json may restrict besides. Where it says nothing of it, nothing below is
# evaluated: hence the `else`, and restrictions apart from denials.
default unrestricted := false

unrestricted if {
	not config.closings
} else if {
	closings == set()
}

deny contains reason if {
	not unrestricted
	some reason in restrictions
}

# Time windows: an empty set means that all was looked at.
closings := windows.holding(
	"step", {
		"subjects": [input.principal.subject],
		"tenants": [input.principal.tenant],
		"roles": input.principal.roles,
		"labels": input.mission.labels,
		"kinds": [kind],
	},
	input.time,
)

restrictions contains {
	"code": "step.closed_now",
	"message": sprintf("time: at %s, \"%s\" of closings in data.gateway.config closes this: %s", [minute, name, why]),
	"rule": "data.gateway.step.restrictions",
} if {
	minute := input.time.rfc3339
	some entry in closings
	name := entry.name
	why := entry.message
}
