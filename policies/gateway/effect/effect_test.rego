package gateway.effect_test

import rego.v1

import data.gateway.effect

asked(kind, op, args) := {
	"version": 1,
	"principal": {"subject": "ann", "tenant": "red", "roles": ["submitter"], "anonymous": false},
	"mission": {"id": "m1", "name": "nightly", "labels": {}, "security_level": "balanced"},
	"step": {"id": "a", "name": "a", "step_type": kind, "profile": "wasm", "attempt": 1, "secrets": []},
	"parameters": {},
	"taint": [],
	"effect": {"op": op, "index": 0, "args": args, "secrets": []},
}

get(host, port) := asked("http", "http.request", {
	"method": "GET",
	"url": concat("", ["http://", host, "/"]),
	"host": host,
	"port": port,
})

opened := object.union(data.gateway.config, {"http": {"hosts": {"127.0.0.1": {"ports": [8080], "methods": ["GET"]}}}})

codes(decision) := {reason.code | some reason in decision.reasons}

test_no_input_is_denied if not effect.decision.allow with input as {}

test_write_in_the_open if effect.decision.allow with input as asked("create_file", "file.write", {"path": "out/x", "content": "", "mode": "create"})

test_write_under_a_closed_prefix if {
	decision := effect.decision with input as asked("create_file", "file.write", {"path": "protected/x", "content": "", "mode": "create"})
	not decision.allow
	codes(decision) == {"effect.path_closed"}
}

test_read if effect.decision.allow with input as asked("read_file", "file.read", {"path": "in.json"})

test_kind_asks_only_for_its_own_operations if {
	decision := effect.decision with input as asked("read_file", "file.write", {"path": "out/x", "content": "", "mode": "create"})
	not decision.allow
	codes(decision) == {"effect.not_declared"}
}

test_unknown_operation if not effect.decision.allow with input as asked("create_file", "file.delete", {"path": "x"})

test_no_host_is_open_by_default if {
	decision := effect.decision with input as get("example.com", 80)
	not decision.allow
	codes(decision) == {"effect.host_closed"}
}

test_open_host if effect.decision.allow with input as get("127.0.0.1", 8080) with data.gateway.config as opened

test_other_port_of_an_open_host if {
	decision := effect.decision with input as get("127.0.0.1", 22) with data.gateway.config as opened
	not decision.allow
	codes(decision) == {"effect.port_closed"}
}

test_other_method_of_an_open_host if {
	base := get("127.0.0.1", 8080)
	decision := effect.decision with input as object.union(base, {"effect": {"args": {"method": "DELETE"}}}) with data.gateway.config as opened
	not decision.allow
	codes(decision) == {"effect.method_closed"}
}

test_name_that_contains_an_open_one if {
	every name in ["127.0.0.1.evil.example", "x127.0.0.1", "127.0.0.1."] {
		decision := effect.decision with input as get(name, 8080) with data.gateway.config as opened
		codes(decision) == {"effect.host_closed"}
	}
}

with_secret(name) := object.union(get("127.0.0.1", 8080), {"step": {"secrets": [name]}, "effect": {"secrets": [name]}})

holding(entry) := object.union(opened, {"secrets": {"TOKEN": object.union({"effects": ["http.request"], "hosts": ["127.0.0.1"], "kinds": ["http"], "tenants": ["red"]}, entry)}})

test_open_secret if effect.decision.allow with input as with_secret("TOKEN") with data.gateway.config as holding({})

test_no_secret_is_open_by_default if {
	decision := effect.decision with input as with_secret("TOKEN") with data.gateway.config as opened
	not decision.allow
	codes(decision) == {"effect.secret_closed"}
}

test_secret_is_closed_to_all_that_its_entry_does_not_name if {
	every entry in [{"effects": []}, {"hosts": ["127.0.0.2"]}, {"kinds": ["transform"]}, {"tenants": ["blue"]}] {
		decision := effect.decision with input as with_secret("TOKEN") with data.gateway.config as holding(entry)
		not decision.allow
		codes(decision) == {"effect.secret_closed"}
	}
}

test_other_name_than_an_open_one if {
	not effect.decision.allow with input as with_secret("TOKEN2") with data.gateway.config as holding({})
}

test_without_its_secrets_an_effect_is_denied if {
	base := get("127.0.0.1", 8080)
	every said in [{}, {"first": "TOKEN"}] {
		not effect.decision.allow with input as object.union(base, {"effect": {"secrets": said}}) with data.gateway.config as holding({})
	}
}

test_short_sleep if effect.decision.allow with input as asked("delay", "timer.sleep", {"ms": 10})

test_long_sleep if {
	decision := effect.decision with input as asked("delay", "timer.sleep", {"ms": 3600001})
	not decision.allow
	codes(decision) == {"effect.sleep_too_long"}
}

approval(approvers, seconds) := asked("approval", "approval.request", {
	"message": "Ship it?",
	"approvers": approvers,
	"expires_in_seconds": seconds,
})

test_approval if effect.decision.allow with input as approval(["approver"], 86400)

test_approval_by_a_role_that_is_not_open if {
	decision := effect.decision with input as approval(["approver", "submitter"], 60)
	not decision.allow
	codes(decision) == {"effect.approver_closed"}
}

test_approval_that_waits_too_long if {
	decision := effect.decision with input as approval(["approver"], 2592001)
	not decision.allow
	codes(decision) == {"effect.approval_too_long"}
}

test_approval_by_unnamed_people if not effect.decision.allow with input as asked("approval", "approval.request", {"message": "m", "expires_in_seconds": 60})

test_mission if effect.decision.allow with input as asked("mission", "mission.run", {"mission": {"name": "n"}})

test_mission_of_another_kind if {
	decision := effect.decision with input as asked("approval", "mission.run", {"mission": {"name": "n"}})
	not decision.allow
	codes(decision) == {"effect.not_declared"}
}

sort := asked("command", "command.run", {"argv": ["sort", "-n"], "command": "sort"})

sorting := object.union(data.gateway.config, {"commands": {"sort": {"executable": "/usr/bin/sort"}}})

test_no_command_is_open_by_default if {
	decision := effect.decision with input as sort
	not decision.allow
	codes(decision) == {"effect.command_closed"}
}

test_open_command if effect.decision.allow with input as sort with data.gateway.config as sorting

test_another_command_than_the_open_one if {
	every name in ["/usr/bin/sort", "sort ", "Sort", "sortx"] {
		decision := effect.decision with input as asked("command", "command.run", {"argv": [name], "command": name}) with data.gateway.config as sorting
		codes(decision) == {"effect.command_closed"}
	}
}

test_command_without_its_name if not effect.decision.allow with input as asked("command", "command.run", {"argv": ["sort"]}) with data.gateway.config as sorting

test_command_of_another_kind if {
	decision := effect.decision with input as asked("delay", "command.run", {"argv": ["sort"], "command": "sort"}) with data.gateway.config as sorting
	codes(decision) == {"effect.not_declared"}
}

test_without_approval_data_approvals_are_denied if {
	config := object.union(data.gateway.config, {"approvals": {"approvers": [], "expires_seconds_max": 0}})
	not effect.decision.allow with input as approval(["approver"], 60) with data.gateway.config as config
}

test_without_data_everything_is_denied if {
	not effect.decision.allow with input as asked("delay", "timer.sleep", {"ms": 10}) with data.gateway.config as {}
}
