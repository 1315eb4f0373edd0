package gateway.mission_test

import rego.v1

import data.gateway.mission

principal(roles) := {"subject": "ann", "tenant": "red", "roles": roles, "anonymous": false}

step(id, kind) := {
	"id": id,
	"name": id,
	"step_type": kind,
	"profile": null,
	"depends_on": [],
	"conditional": false,
	"fan_out": false,
	"items": null,
	"max_attempts": 1,
	"idempotent": false,
	"parameters": {},
	"secrets": [],
	"taint": [],
}

plan(roles, steps) := {
	"version": 1,
	"principal": principal(roles),
	"mission": {
		"name": "nightly",
		"digest": "sha256:00",
		"labels": {"team": "red"},
		"config": {
			"timeout_seconds": 60,
			"fail_fast": true,
			"parallel_limit": 4,
			"strategy": "parallel",
			"priority": 5,
			"concurrency_key": null,
			"max_restarts": 0,
		},
		"security_level": "balanced",
		"variables": {},
		"steps": steps,
		"levels": 1,
		"runs": count([1 | some _ in steps]),
	},
	"time": {"rfc3339": "2026-11-26T14:35:00Z", "weekday": "thursday", "minute_of_day": 875, "unix_seconds": 1795703700},
}

with_missions(entries) := object.union(data.gateway.config, {"missions": object.union(data.gateway.config.missions, entries)})

with_kind(kind, entries) := object.union(data.gateway.config, {"kinds": {kind: entries}})

codes(decision) := {reason.code | some reason in decision.reasons}

two_steps := [step("a", "read_file"), step("b", "create_file")]

test_no_input_is_denied if not mission.decision.allow with input as {}

test_submitter_runs_known_kinds if mission.decision.allow with input as plan(["submitter"], two_steps)

test_approval_and_mission_are_kinds_like_others if mission.decision.allow with input as plan(["admin"], [step("a", "approval"), step("b", "mission")])

test_viewer_runs_nothing if {
	decision := mission.decision with input as plan(["viewer"], two_steps)
	not decision.allow
	codes(decision) == {"mission.kind_not_granted", "mission.too_large"}
}

test_unknown_kind_is_named if {
	decision := mission.decision with input as plan(["admin"], [step("a", "rm_rf")])
	not decision.allow
	codes(decision) == {"mission.kind_unknown"}
}

test_kind_that_is_not_granted_is_named if {
	decision := mission.decision with input as plan(["submitter"], [step("a", "spin")]) with data.gateway.config as with_kind("spin", {"profile": "wasm", "effects": [], "closed_taint": []})
	not decision.allow
	codes(decision) == {"mission.kind_not_granted"}
}

test_stricter_profile_fits if mission.decision.allow with input as plan(["submitter"], [object.union(step("a", "transform"), {"profile": "fast"})])

test_wider_profile_does_not_fit if {
	decision := mission.decision with input as plan(["submitter"], [object.union(step("a", "delay"), {"profile": "semantic"})])
	not decision.allow
	codes(decision) == {"mission.profile_too_wide"}
}

test_unknown_profile_does_not_fit if not mission.decision.allow with input as plan(["submitter"], [object.union(step("a", "transform"), {"profile": "huge"})])

test_too_many_steps if {
	config := object.union(data.gateway.config, {"roles": {"submitter": {"steps_max": 1}}})
	decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as config
	not decision.allow
	codes(decision) == {"mission.too_large"}
}

test_items_count_as_steps if {
	config := object.union(data.gateway.config, {"roles": {"submitter": {"steps_max": 4}}})
	fits := object.union(plan(["submitter"], two_steps), {"mission": {"runs": 4}})
	mission.decision.allow with input as fits with data.gateway.config as config
	over := object.union(plan(["submitter"], two_steps), {"mission": {"runs": 5}})
	decision := mission.decision with input as over with data.gateway.config as config
	not decision.allow
	codes(decision) == {"mission.too_large"}
}

test_a_plan_without_runs_is_denied if {
	whole := plan(["admin"], two_steps)
	mission.decision.allow with input as whole
	not mission.decision.allow with input as json.remove(whole, ["mission/runs"])
}

test_required_label if {
	decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as with_missions({"required_labels": ["cost_centre"]})
	not decision.allow
	codes(decision) == {"mission.label_missing"}
}

test_reserved_label if {
	asked := plan(["submitter"], two_steps)
	labelled := object.union(asked, {"mission": {"labels": {"missiongate.id": "x"}}})
	decision := mission.decision with input as labelled
	not decision.allow
	codes(decision) == {"mission.label_reserved"}
}

test_forbidden_together if {
	config := with_missions({"forbidden_together": [{"kinds": ["read_file", "create_file"], "message": "copying is closed"}]})
	decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as config
	not decision.allow
	codes(decision) == {"mission.forbidden_together"}
}

test_forbidden_together_needs_both if {
	config := with_missions({"forbidden_together": [{"kinds": ["read_file", "http"], "message": "closed"}]})
	mission.decision.allow with input as plan(["submitter"], two_steps) with data.gateway.config as config
}

with_secret(entry) := object.union(data.gateway.config, {"secrets": {"TOKEN": object.union({"effects": ["http.request"], "hosts": ["h"], "kinds": ["http"], "tenants": ["red"]}, entry)}})

test_open_secret if {
	asked := plan(["submitter"], [object.union(step("a", "http"), {"secrets": ["TOKEN"]})])
	mission.decision.allow with input as asked with data.gateway.config as with_secret({})
}

test_closed_secret if {
	asked := plan(["submitter"], [object.union(step("a", "http"), {"secrets": ["TOKEN"]})])
	every entry in [{"kinds": []}, {"tenants": ["blue"]}] {
		decision := mission.decision with input as asked with data.gateway.config as with_secret(entry)
		not decision.allow
		codes(decision) == {"mission.secret_closed"}
	}
}

test_closed_taint if {
	config := with_kind("create_file", {"closed_taint": ["network"]})
	tainted := [object.union(step("a", "create_file"), {"taint": ["client", "network"]})]
	decision := mission.decision with input as plan(["submitter"], tainted) with data.gateway.config as config
	not decision.allow
	codes(decision) == {"mission.taint"}
}

test_without_data_everything_is_denied if {
	not mission.decision.allow with input as plan(["admin"], two_steps) with data.gateway.config as {}
}

of_level(level) := object.union(plan(["submitter"], two_steps), {"mission": {"security_level": level}})

test_stricter_level if mission.decision.allow with input as of_level("strict")

test_level_that_no_role_grants if {
	decision := mission.decision with input as of_level("none")
	not decision.allow
	codes(decision) == {"mission.level_not_granted"}
}

test_admin_runs_without_a_level if mission.decision.allow with input as object.union(plan(["admin"], two_steps), {"mission": {"security_level": "none"}})

test_no_level_is_none_that_is_granted if not mission.decision.allow with input as json.remove(plan(["admin"], two_steps), ["mission/security_level"])

test_every_level_is_granted_to_whom_roles_say if {
	granted := {"admin": {"strict", "balanced", "relaxed", "none"}, "submitter": {"strict", "balanced", "relaxed"}}
	every role, levels in granted {
		every level in ["strict", "balanced", "relaxed", "none", "wide"] {
			as_granted(role, level, levels)
		}
	}
}

as_granted(role, level, levels) if {
	level in levels
	mission.decision.allow with input as object.union(plan([role], two_steps), {"mission": {"security_level": level}})
}

as_granted(role, level, levels) if {
	not level in levels
	decision := mission.decision with input as object.union(plan([role], two_steps), {"mission": {"security_level": level}})
	not decision.allow
	codes(decision) == {"mission.level_not_granted"}
}

test_a_role_without_levels_grants_none if {
	config := object.union(data.gateway.config, {"roles": {"submitter": {"security_levels": []}}})
	decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as config
	codes(decision) == {"mission.level_not_granted"}
}

# Taint by operation: a kind of the site's own that may run programs is no way around the built-in one.

test_no_kind_that_runs_programs_takes_data_from_the_network if {
	config := with_kind("site_tool", {"profile": "wasm", "effects": ["file.read", "command.run"], "closed_taint": []})
	tainted := [object.union(step("a", "site_tool"), {"taint": ["network"]})]
	decision := mission.decision with input as plan(["admin"], tainted) with data.gateway.config as config
	not decision.allow
	codes(decision) == {"mission.taint"}
	plain := [object.union(step("a", "site_tool"), {"taint": ["client", "workspace"]})]
	mission.decision.allow with input as plan(["admin"], plain) with data.gateway.config as config
}

# Limits of missions

limited(entries) := with_missions({"limits": entries})

test_a_tenant_is_held_to_its_limits if {
	every name in ["steps_max", "runs_max"] {
		held := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as limited({"tenants": {"red": {name: 1}}})
		not held.allow
		codes(held) == {"mission.limit"}
	}
	decision := mission.decision with input as plan(["admin"], two_steps) with data.gateway.config as limited({"tenants": {"red": {"parallel_limit_max": 3}}})
	codes(decision) == {"mission.limit"}
	some reason in decision.reasons
	reason.message == "config.parallel_limit of the mission is 4, over missions.limits.tenants.red.parallel_limit_max (3) in data.gateway.config"
}

test_all_are_held_to_the_default if {
	decision := mission.decision with input as plan(["admin"], two_steps) with data.gateway.config as limited({"default": {"steps_max": 1}})
	codes(decision) == {"mission.limit"}
}

test_within_limits_and_of_another_tenant if {
	mission.decision.allow with input as plan(["submitter"], two_steps) with data.gateway.config as limited({"default": {"steps_max": 2}, "tenants": {"red": {"runs_max": 2, "parallel_limit_max": 4}, "blue": {"steps_max": 0}}})
}

test_without_its_figures_a_mission_is_denied if {
	config := limited({"tenants": {"blue": {"steps_max": 1}}})
	mission.decision.allow with input as plan(["admin"], two_steps) with data.gateway.config as config
	every path in ["mission/runs", "mission/config/parallel_limit", "principal/tenant"] {
		not mission.decision.allow with input as json.remove(plan(["admin"], two_steps), [path]) with data.gateway.config as config
	}
}

# Capabilities

granting(required, grants) := object.union(data.gateway.config, {"capabilities": {"required": required, "grants": grants}})

test_a_kind_of_which_nobody_may_do_anything_is_named if {
	decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as granting(["file.write"], [])
	not decision.allow
	codes(decision) == {"mission.capability_missing"}
	some reason in decision.reasons
	startswith(reason.message, "step \"b\": all that steps of type \"create_file\" may do needs a grant")
}

test_a_grant_that_speaks_of_it_is_enough_for_a_plan if {
	every grant in [{"name": "g", "write": ["out/"]}, {"name": "g", "kinds": ["create_file"], "labels": {"team": "red"}, "write": ["out/"]}] {
		mission.decision.allow with input as plan(["submitter"], two_steps) with data.gateway.config as granting(["file.write"], [grant])
	}
}

test_a_grant_of_others_is_not if {
	every grant in [{"name": "g", "kinds": ["http"], "write": [""]}, {"name": "g", "labels": {"team": "blue"}, "write": [""]}, {"name": "g", "read": [""]}] {
		decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as granting(["file.write"], [grant])
		codes(decision) == {"mission.capability_missing"}
	}
}

test_a_kind_that_may_do_something_else_too_is_for_the_effects_to_decide if {
	config := object.union(granting(["file.write"], []), {"kinds": {"mixed": {"profile": "wasm", "effects": ["file.write", "timer.sleep"], "closed_taint": []}}})
	mission.decision.allow with input as plan(["admin"], [step("a", "mixed")]) with data.gateway.config as config
}

test_a_kind_that_asks_for_nothing_needs_no_grant if mission.decision.allow with input as plan(["submitter"], [step("a", "transform")]) with data.gateway.config as granting(["file.write"], [])

# Time windows

in_freeze(selectors) := object.union(data.gateway.config, {
	"windows": {"freeze": {"starts": "2026-11-20T00:00:00Z", "ends": "2026-12-01T00:00:00Z"}},
	"closings": [object.union({"name": "freeze", "at": ["mission"], "closed_in": ["freeze"], "message": "later"}, selectors)],
})

test_closed_now if {
	every selectors in [{}, {"kinds": ["create_file"]}, {"labels": {"team": "red"}}] {
		decision := mission.decision with input as plan(["submitter"], two_steps) with data.gateway.config as in_freeze(selectors)
		not decision.allow
		codes(decision) == {"mission.closed_now"}
	}
}

test_closed_for_others if {
	every selectors in [{"kinds": ["http"]}, {"labels": {"team": "blue"}}, {"tenants": ["blue"]}] {
		mission.decision.allow with input as plan(["submitter"], two_steps) with data.gateway.config as in_freeze(selectors)
	}
}

test_without_what_closings_look_at_a_mission_is_denied if {
	every path in ["time", "principal/subject", "mission/labels"] {
		not mission.decision.allow with input as json.remove(plan(["submitter"], two_steps), [path]) with data.gateway.config as in_freeze({"tenants": ["blue"]})
	}
}

# Silence is a no: where the decision itself comes to nothing.

nothing(_, _, _) := 1 if false

test_no_answer_is_a_no if {
	decision := mission.decision with input as {} with array.slice as nothing
	not decision.allow
	codes(decision) == {"mission.undecided"}
}

test_at_the_limits_of_a_role_is_within if {
	config := object.union(data.gateway.config, {"roles": {"submitter": {"steps_max": 2, "parallel_limit_max": 4}}})
	mission.decision.allow with input as plan(["submitter"], two_steps) with data.gateway.config as config
	over := object.union(plan(["submitter"], two_steps), {"mission": {"config": {"parallel_limit": 5}}})
	decision := mission.decision with input as over with data.gateway.config as config
	codes(decision) == {"mission.too_large"}
}

test_steps_count_where_items_do_not if {
	config := object.union(data.gateway.config, {"roles": {"submitter": {"steps_max": 1}}})
	empty := object.union(plan(["submitter"], two_steps), {"mission": {"runs": 1}})
	decision := mission.decision with input as empty with data.gateway.config as config
	codes(decision) == {"mission.too_large"}
}

test_required_label_that_is_there if mission.decision.allow with input as plan(["submitter"], two_steps) with data.gateway.config as with_missions({"required_labels": ["team"]})

test_closed_taint_leaves_other_data_alone if {
	config := with_kind("create_file", {"closed_taint": ["network"]})
	clean := [object.union(step("a", "create_file"), {"taint": ["client", "workspace"]})]
	mission.decision.allow with input as plan(["submitter"], clean) with data.gateway.config as config
}
