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
