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
	"time": {"rfc3339": "2026-11-26T14:35:00Z", "weekday": "thursday", "minute_of_day": 875, "unix_seconds": 1795703700},
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

with_config(entries) := object.union(opened, entries)

tainted(kind, op, args, labels) := object.union(asked(kind, op, args), {"taint": labels})

test_an_operation_takes_no_data_that_is_closed_to_it if {
	every kind in ["command", "site_tool"] {
		config := object.union(sorting, {"kinds": {"site_tool": {"profile": "wasm", "effects": ["command.run"], "closed_taint": []}}})
		args := {"argv": ["sort"], "command": "sort"}
		decision := effect.decision with input as tainted(kind, "command.run", args, ["client", "network"]) with data.gateway.config as config
		not decision.allow
		codes(decision) == {"effect.taint"}
		effect.decision.allow with input as tainted(kind, "command.run", args, ["client", "workspace"]) with data.gateway.config as config
	}
}

test_other_operations_take_what_is_closed_to_one if effect.decision.allow with input as tainted("create_file", "file.write", {"path": "out/x"}, ["network"])

test_an_effect_without_its_taint_is_denied if {
	every labels in [null, "client", {}] {
		not effect.decision.allow with input as tainted("create_file", "file.write", {"path": "out/x"}, labels)
	}
	not effect.decision.allow with input as json.remove(asked("create_file", "file.write", {"path": "out/x"}), ["taint"])
}

# Capabilities

granting(required, grants) := with_config({"capabilities": {"required": required, "grants": grants}})

test_what_needs_no_grant_has_none if {
	config := granting(["http.request"], [])
	effect.decision.allow with input as asked("create_file", "file.write", {"path": "out/x"}) with data.gateway.config as config
}

test_what_needs_a_grant_is_denied_without if {
	config := granting(["file.write"], [{"name": "others", "tenants": ["blue"], "write": [""]}])
	decision := effect.decision with input as asked("create_file", "file.write", {"path": "out/x"}) with data.gateway.config as config
	not decision.allow
	codes(decision) == {"effect.capability_missing"}
	some reason in decision.reasons
	reason.message == "args.path: out/x: no grant of capabilities in data.gateway.config covers file.write by a step of type \"create_file\" for \"ann\" of tenant \"red\"; it holds: "
}

test_a_grant_covers_what_it_names if {
	config := granting(["file.write"], [{"name": "reports", "subjects": ["ann"], "roles": ["submitter"], "write": ["out/"]}])
	effect.decision.allow with input as asked("create_file", "file.write", {"path": "out/x"}) with data.gateway.config as config
	decision := effect.decision with input as asked("create_file", "file.write", {"path": "in/x"}) with data.gateway.config as config
	codes(decision) == {"effect.capability_missing"}
}

test_a_grant_opens_nothing_that_is_closed if {
	config := granting(["file.write", "http.request"], [{"name": "all", "write": [""], "hosts": ["*.example.com", "127.0.0.1"]}])
	written := effect.decision with input as asked("create_file", "file.write", {"path": "protected/x"}) with data.gateway.config as config
	codes(written) == {"effect.path_closed"}
	got := effect.decision with input as get("api.example.com", 443) with data.gateway.config as config
	codes(got) == {"effect.host_closed"}
	effect.decision.allow with input as get("127.0.0.1", 8080) with data.gateway.config as config
}

test_two_grants_are_not_added_up if {
	grants := [{"name": "read it", "hosts": ["127.0.0.1"], "methods": ["HEAD"]}, {"name": "elsewhere", "hosts": ["example.com"], "methods": ["GET"]}]
	decision := effect.decision with input as get("127.0.0.1", 8080) with data.gateway.config as granting(["http.request"], grants)
	codes(decision) == {"effect.capability_missing"}
	some reason in decision.reasons
	endswith(reason.message, "it holds: read it, elsewhere")
}

test_a_grant_names_the_secrets_that_it_sends if {
	effect.decision.allow with input as with_secret("TOKEN") with data.gateway.config as sending_with({"secrets": ["TOKEN"]})
	decision := effect.decision with input as with_secret("TOKEN") with data.gateway.config as sending_with({})
	codes(decision) == {"effect.capability_missing"}
}

sending_with(secrets) := object.union(holding({}), {"capabilities": {"required": ["http.request"], "grants": [object.union({"name": "g", "hosts": ["127.0.0.1"]}, secrets)]}})

test_commands_and_other_operations_by_grant if {
	config := object.union(sorting, {"capabilities": {"required": ["command.run", "timer.sleep", "mission.run"], "grants": [{"name": "g", "kinds": ["command"], "commands": ["sort"]}, {"name": "h", "effects": ["timer.sleep"]}]}})
	effect.decision.allow with input as sort with data.gateway.config as config
	effect.decision.allow with input as asked("delay", "timer.sleep", {"ms": 1}) with data.gateway.config as config
	denied := effect.decision with input as asked("mission", "mission.run", {"mission": {"name": "n"}}) with data.gateway.config as config
	codes(denied) == {"effect.capability_missing"}
	unnamed := effect.decision with input as asked("command", "command.run", {"argv": ["tar"], "command": "tar"}) with data.gateway.config as config
	codes(unnamed) == {"effect.capability_missing", "effect.command_closed"}
}

test_capabilities_that_say_nothing_close if {
	not effect.decision.allow with input as asked("create_file", "file.write", {"path": "out/x"}) with data.gateway.config as with_config({"capabilities": {}})
}

test_a_stranger_holds_no_grant_of_a_role_that_it_names if {
	config := granting(["file.write"], [{"name": "g", "roles": ["submitter"], "write": [""]}])
	stranger := object.union(asked("create_file", "file.write", {"path": "out/x"}), {"principal": {"anonymous": true}})
	decision := effect.decision with input as stranger with data.gateway.config as config
	codes(decision) == {"effect.capability_missing"}
}

# Time windows

frozen(selectors) := with_config({
	"windows": {"freeze": {"starts": "2026-11-20T00:00:00Z", "ends": "2026-12-01T00:00:00Z"}},
	"closings": [object.union({"name": "quarter end", "at": ["effect"], "closed_in": ["freeze"], "message": "the books are being closed"}, selectors)],
})

test_closed_now if {
	every selectors in [{}, {"effects": ["file.write"]}, {"kinds": ["create_file"], "tenants": ["red"]}] {
		decision := effect.decision with input as asked("create_file", "file.write", {"path": "out/x"}) with data.gateway.config as frozen(selectors)
		not decision.allow
		codes(decision) == {"effect.closed_now"}
		some reason in decision.reasons
		reason.message == "time: at 2026-11-26T14:35:00Z, \"quarter end\" of closings in data.gateway.config closes this: the books are being closed"
	}
}

test_closed_for_others_or_later if {
	every selectors in [{"effects": ["http.request"]}, {"commands": ["sort"]}, {"subjects": ["bob"]}] {
		effect.decision.allow with input as asked("create_file", "file.write", {"path": "out/x"}) with data.gateway.config as frozen(selectors)
	}
	later := object.union(asked("create_file", "file.write", {"path": "out/x"}), {"time": {"rfc3339": "2026-12-01T00:00:00Z", "weekday": "tuesday"}})
	effect.decision.allow with input as later with data.gateway.config as frozen({})
}

test_a_command_is_closed_by_its_name if {
	closed := object.union(frozen({"commands": ["sort"]}), {"commands": {"sort": {"executable": "/usr/bin/sort"}, "tar": {"executable": "/usr/bin/tar"}}})
	decision := effect.decision with input as sort with data.gateway.config as closed
	codes(decision) == {"effect.closed_now"}
	effect.decision.allow with input as asked("command", "command.run", {"argv": ["tar"], "command": "tar"}) with data.gateway.config as closed
}

test_without_what_closings_look_at_an_effect_is_denied if {
	whole := asked("create_file", "file.write", {"path": "out/x"})
	config := object.union(frozen({"tenants": ["blue"]}), {})
	effect.decision.allow with input as whole with data.gateway.config as config
	every path in ["time", "time/rfc3339", "time/weekday", "principal/tenant", "principal/subject", "principal/roles", "mission/labels"] {
		not effect.decision.allow with input as json.remove(whole, [path]) with data.gateway.config as config
	}
}

# Silence is a no: where the decision itself comes to nothing.

nothing(_, _, _) := 1 if false

test_no_answer_is_a_no if {
	decision := effect.decision with input as {} with array.slice as nothing
	not decision.allow
	codes(decision) == {"effect.undecided"}
}

test_arguments_that_are_none_have_a_reason_too if {
	config := granting(["file.write"], [])
	every args in [{"path": 1}, {"path": "x", "host": "y", "command": "z"}, {}] {
		decision := effect.decision with input as asked("create_file", "file.write", args) with data.gateway.config as config
		"effect.capability_missing" in codes(decision)
	}
}

test_at_the_limit_is_within if {
	effect.decision.allow with input as asked("delay", "timer.sleep", {"ms": 3600000})
	effect.decision.allow with input as approval(["approver"], 2592000)
}

test_no_arguments_open_an_operation_without_a_rule if {
	config := object.union(opened, {"kinds": {"odd": {"profile": "wasm", "effects": ["file.delete"], "closed_taint": []}}, "commands": {"sort": {}}})
	every args in [
		{"ms": 1},
		{"approvers": [], "expires_in_seconds": 1},
		{"approvers": ["approver"], "expires_in_seconds": 1},
		{"path": "out/x"},
		{"host": "127.0.0.1", "port": 8080, "method": "GET"},
		{"command": "sort", "argv": ["sort"]},
		{"mission": {}},
	] {
		not effect.decision.allow with input as asked("odd", "file.delete", args) with data.gateway.config as config
	}
}
