package gateway.lib.capabilities_test

import rego.v1

import data.gateway.lib.capabilities

facts := {
	"subjects": ["ann"],
	"tenants": ["red"],
	"roles": {"submitter"},
	"labels": {"team": "reports"},
	"kinds": ["http"],
}

held(grant) if {
	capabilities.held(facts) == [grant] with data.gateway.config as {"capabilities": {"required": [], "grants": [grant]}}
}

test_a_grant_that_names_nobody_is_everybodys if held({"name": "g"})

test_each_selector_chooses if {
	every grant in [
		{"subjects": ["bob", "ann"]},
		{"tenants": ["red"]},
		{"roles": ["submitter"]},
		{"labels": {"team": "reports"}},
		{"kinds": ["http"]},
	] {
		held(grant)
	}
}

test_each_selector_leaves_others_out if {
	every grant in [
		{"subjects": ["bob"]},
		{"tenants": ["blue"]},
		{"roles": ["operator"]},
		{"labels": {"team": "sales"}},
		{"labels": {"team": "reports", "stage": "live"}},
		{"kinds": ["command"]},
		{"tenants": ["red"], "kinds": ["command"]},
		{"subjects": []},
	] {
		not held(grant)
	}
}

test_prefixes if {
	capabilities.covers({"read": ["in/"]}, "file.read", {"path": "in/a"}, [])
	capabilities.covers({"write": ["out/a", "out/b/"]}, "file.write", {"path": "out/b/c/d"}, [])
	capabilities.covers({"write": [""]}, "file.write", {"path": "a"}, [])
	not capabilities.covers({"read": ["in/"]}, "file.read", {"path": "inner"}, [])
	not capabilities.covers({"read": ["in/"]}, "file.write", {"path": "in/a"}, [])
	not capabilities.covers({"write": ["in/"]}, "file.read", {"path": "in/a"}, [])
	not capabilities.covers({"write": ["out/"]}, "file.write", {}, [])
	not capabilities.covers({"write": []}, "file.write", {"path": "out/a"}, [])
}

get(host) := {"method": "GET", "host": host, "port": 443}

test_hosts if {
	grant := {"hosts": ["api.example.com", "*.example.org"]}
	every host in ["api.example.com", "a.example.org", "a.b.example.org"] {
		capabilities.covers(grant, "http.request", get(host), [])
	}
	every host in ["example.com", "x.api.example.com", "xapi.example.com", "example.org", "evilexample.org", "a.example.org.evil.net", "*.example.org.", ""] {
		not capabilities.covers(grant, "http.request", get(host), [])
	}
}

test_ports_and_methods if {
	grant := {"hosts": ["h"], "ports": [443], "methods": ["GET", "HEAD"]}
	capabilities.covers(grant, "http.request", get("h"), [])
	not capabilities.covers(grant, "http.request", {"method": "GET", "host": "h", "port": 80}, [])
	not capabilities.covers(grant, "http.request", {"method": "PUT", "host": "h", "port": 443}, [])
	not capabilities.covers(grant, "http.request", {"host": "h", "port": 443}, [])
	not capabilities.covers({"hosts": ["h"]}, "http.request", {"method": "GET", "host": "h"}, [])
	not capabilities.covers({"hosts": ["h"]}, "http.request", {"method": "GET", "host": "h", "port": null}, [])
}

test_commands if {
	capabilities.covers({"commands": ["sort"]}, "command.run", {"command": "sort"}, [])
	not capabilities.covers({"commands": ["sort"]}, "command.run", {"command": "tar"}, [])
	not capabilities.covers({"commands": ["sort"]}, "command.run", {}, [])
}

test_other_operations_by_name if {
	capabilities.covers({"effects": ["timer.sleep"]}, "timer.sleep", {"ms": 1}, [])
	not capabilities.covers({"effects": ["timer.sleep"]}, "mission.run", {}, [])
	not capabilities.covers({}, "timer.sleep", {"ms": 1}, [])
}

test_every_secret_has_to_be_named if {
	grant := {"hosts": ["h"], "secrets": ["A", "B"]}
	capabilities.covers(grant, "http.request", get("h"), ["A"])
	capabilities.covers(grant, "http.request", get("h"), ["B", "A"])
	not capabilities.covers(grant, "http.request", get("h"), ["A", "C"])
	not capabilities.covers({"hosts": ["h"]}, "http.request", get("h"), ["A"])
}

test_what_a_grant_speaks_of if {
	capabilities.speaks_of({"read": ["a"]}, "file.read")
	capabilities.speaks_of({"effects": ["mission.run"]}, "mission.run")
	not capabilities.speaks_of({"read": ["a"]}, "file.write")
	not capabilities.speaks_of({"read": ["a"]}, "mission.run")
}
