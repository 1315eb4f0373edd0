package gateway.lib.principals_test

import rego.v1

import data.gateway.lib.principals

test_known_roles_only if principals.roles({"roles": ["submitter", "root"], "anonymous": false}) == {"submitter"}

test_anonymous_is_no_role_of_a_token if principals.roles({"roles": ["anonymous", "viewer"], "anonymous": false}) == {"viewer"}

test_a_stranger_has_one_role if principals.roles({"roles": ["admin"], "anonymous": true}) == {"anonymous"}

test_a_stranger_has_none_where_data_says_nothing_of_it if {
	principals.roles({"roles": ["admin"], "anonymous": true}) == set() with data.gateway.config as {"roles": {"admin": {}}}
}

test_runs if {
	principals.runs({"admin"}, "anything")
	principals.runs({"viewer", "submitter"}, "http")
	not principals.runs({"viewer"}, "http")
	not principals.runs({"submitter"}, "spin")
	not principals.runs(set(), "http")
}
