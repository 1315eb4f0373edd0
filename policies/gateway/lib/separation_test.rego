package gateway.lib.separation_test

import rego.v1

import data.gateway.lib.separation

principal := {"subject": "eve", "tenant": "red", "roles": ["approver", "payments"], "anonymous": false}

config(entries) := {"approvals": {"separation": entries}}

test_excluded_roles if {
	separation.excluded(principal) == {"payments"} with data.gateway.config as config({"excluded_roles": ["payments", "submitter"]})
	separation.excluded(principal) == set() with data.gateway.config as config({"excluded_roles": ["submitter"]})
	separation.excluded(principal) == set() with data.gateway.config as config({})
}

sharing(roles) := found if {
	found := separation.shared(principal, {"submitter_roles": roles}) with data.gateway.config as config({"exclusive_roles": ["payments", "orders"]})
}

test_shared_roles if {
	sharing(["submitter", "payments"]) == {"payments"}
	sharing(["submitter", "orders"]) == set()
	sharing(["approver"]) == set()
	sharing([]) == set()
}

test_unknown_roles_are_not_none if {
	not known({})
	not known({"submitter_roles": "payments"})
	known({"submitter_roles": []})
}

known(resource) if separation.shared(principal, resource) == set() with data.gateway.config as config({})

test_repeated if {
	separation.repeated(principal, {"approved_by": ["ann", "eve"]}) with data.gateway.config as config({"distinct_approvers": true})
	not separation.repeated(principal, {"approved_by": ["ann"]}) with data.gateway.config as config({"distinct_approvers": true})
	not separation.repeated(principal, {"approved_by": ["eve"]}) with data.gateway.config as config({"distinct_approvers": false})
	not separation.repeated(principal, {"approved_by": ["eve"]}) with data.gateway.config as config({})
}
