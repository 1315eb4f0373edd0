package gateway.step_test

import rego.v1

import data.gateway.step

asked(roles, kind, parameters) := {
	"version": 1,
	"principal": {"subject": "ann", "tenant": "red", "roles": roles, "anonymous": false},
	"mission": {"id": "m1", "name": "nightly", "labels": {}, "security_level": "balanced"},
	"step": {"id": "a", "name": "a", "step_type": kind, "profile": "wasm", "attempt": 1},
	"parameters": parameters,
	"taint": ["client"],
	"time": {"rfc3339": "2026-11-26T14:35:00Z", "weekday": "thursday", "minute_of_day": 875, "unix_seconds": 1795703700},
}

codes(decision) := {reason.code | some reason in decision.reasons}

write(path) := asked(["submitter"], "create_file", {"path": path, "content": "x"})

read_closed(prefixes) := object.union(data.gateway.config, {"files": {"read": {"closed_prefixes": prefixes}}})

test_no_input_is_denied if not step.decision.allow with input as {}

test_transform_runs if step.decision.allow with input as asked(["submitter"], "transform", {})

test_delay_runs if step.decision.allow with input as asked(["submitter"], "delay", {"ms": 5})

test_approval_and_mission_are_decided_by_their_effects if {
	every kind in ["approval", "mission"] {
		step.decision.allow with input as object.union(asked(["admin"], kind, {}), {"step": {"profile": "semantic"}})
	}
}

test_write_in_the_open if step.decision.allow with input as write("out/report.json")

test_write_beside_a_closed_prefix if step.decision.allow with input as write("protected.txt")

test_write_under_a_closed_prefix if {
	decision := step.decision with input as write("protected/keys.txt")
	not decision.allow
	codes(decision) == {"step.path_closed"}
}

test_write_to_the_closed_folder_itself if not step.decision.allow with input as write("protected")

test_dots_hide_nothing if {
	every path in ["./protected/x", "protected/./x", "././protected/x", "./protected/./././x"] {
		decision := step.decision with input as write(path)
		codes(decision) == {"step.path_closed"}
	}
}

test_write_without_a_path if not step.decision.allow with input as asked(["submitter"], "create_file", {"content": "x"})

test_read_of_what_only_writing_closes if step.decision.allow with input as asked(["submitter"], "read_file", {"path": "protected/x"})

test_read_under_a_closed_prefix if {
	decision := step.decision with input as asked(["submitter"], "read_file", {"path": "a/b"}) with data.gateway.config as read_closed(["a/"])
	codes(decision) == {"step.path_closed"}
}

test_empty_prefix_closes_everything if not step.decision.allow with input as asked(["submitter"], "read_file", {"path": "a"}) with data.gateway.config as read_closed([""])

test_http_defaults_to_get if step.decision.allow with input as asked(["submitter"], "http", {"url": "http://example.com/"})

test_http_method_that_is_closed if {
	decision := step.decision with input as asked(["submitter"], "http", {"url": "http://example.com/", "method": "TRACE"})
	not decision.allow
	codes(decision) == {"step.method_closed"}
}

test_unknown_kind if {
	decision := step.decision with input as asked(["admin"], "rm_rf", {})
	not decision.allow
	"step.kind_unknown" in codes(decision)
}

test_viewer_runs_nothing if {
	decision := step.decision with input as asked(["viewer"], "transform", {})
	codes(decision) == {"step.kind_not_granted"}
}

test_wider_profile if {
	wide := object.union(asked(["submitter"], "delay", {}), {"step": {"profile": "semantic"}})
	decision := step.decision with input as wide
	codes(decision) == {"step.profile_too_wide"}
}

test_closed_taint if {
	config := object.union(data.gateway.config, {"kinds": {"transform": {"closed_taint": ["client"]}}})
	decision := step.decision with input as asked(["submitter"], "transform", {}) with data.gateway.config as config
	codes(decision) == {"step.taint"}
}

test_without_data_everything_is_denied if {
	not step.decision.allow with input as asked(["admin"], "transform", {}) with data.gateway.config as {}
}

test_a_step_without_its_taint_is_denied if {
	not step.decision.allow with input as json.remove(asked(["submitter"], "transform", {}), ["taint"])
	not step.decision.allow with input as object.union(asked(["submitter"], "transform", {}), {"taint": "client"})
}

test_commands_take_no_data_from_the_network if {
	config := object.union(data.gateway.config, {"roles": {"submitter": {"kinds": ["command"]}}})
	tainted := object.union(asked(["submitter"], "command", {"argv": ["sort"]}), {"taint": ["network", "workspace"]})
	decision := step.decision with input as tainted with data.gateway.config as config
	codes(decision) == {"step.taint"}
	plain := object.union(asked(["submitter"], "command", {"argv": ["sort"]}), {"taint": ["client", "workspace"]})
	step.decision.allow with input as plain with data.gateway.config as config
}

at_night(selectors) := object.union(data.gateway.config, {
	"windows": {"night": {"from": "20:00", "to": "06:00"}},
	"closings": [object.union({"name": "only at night", "at": ["step", "rpc"], "open_in": ["night"], "message": "it loads the database"}, selectors)],
})

test_closed_now if {
	every selectors in [{"kinds": ["transform"]}, {"roles": ["submitter"]}] {
		decision := step.decision with input as asked(["submitter"], "transform", {}) with data.gateway.config as at_night(selectors)
		not decision.allow
		codes(decision) == {"step.closed_now"}
	}
}

test_open_at_night_and_for_others if {
	night := object.union(asked(["submitter"], "transform", {}), {"time": {"rfc3339": "2026-11-26T20:00:00Z"}})
	step.decision.allow with input as night with data.gateway.config as at_night({})
	step.decision.allow with input as asked(["submitter"], "transform", {}) with data.gateway.config as at_night({"kinds": ["http"]})
}

test_without_what_closings_look_at_a_step_is_denied if {
	whole := asked(["submitter"], "transform", {})
	every path in ["time", "principal/tenant", "principal/subject", "mission/labels"] {
		not step.decision.allow with input as json.remove(whole, [path]) with data.gateway.config as at_night({"tenants": ["blue"]})
	}
}

# Silence is a no: where the decision itself comes to nothing.

nothing(_, _, _) := 1 if false

test_no_answer_is_a_no if {
	decision := step.decision with input as {} with array.slice as nothing
	not decision.allow
	codes(decision) == {"step.undecided"}
}
