package gateway.lib.limits_test

import rego.v1

import data.gateway.lib.limits

sizes := {"steps_max": 10, "runs_max": 100, "parallel_limit_max": 4}

over(entries) := found if found := limits.over("red", sizes) with data.gateway.config as {"missions": {"limits": entries}}

test_within_all_of_them if {
	over({"default": sizes, "tenants": {"red": sizes, "blue": {"steps_max": 0}}}) == set()
	over({"default": {}}) == set()
	over({"tenants": {}}) == set()
}

test_each_figure_is_named if {
	every name, size in sizes {
		over({"default": {name: 3}}) == {{"where": "default", "limit": name, "maximum": 3, "size": size}}
		over({"tenants": {"red": {name: 3}}}) == {{"where": "tenants.red", "limit": name, "maximum": 3, "size": size}}
	}
}

test_a_tenant_gets_no_more_than_all if {
	found := over({"default": {"steps_max": 5}, "tenants": {"red": {"steps_max": 50}}})
	count([1 | some _ in found]) == 1
}

test_without_a_figure_or_a_tenant_nothing_is_known if {
	not known("red", {"steps_max": 10, "runs_max": 100})
	not known("red", object.union(sizes, {"runs_max": "1"}))
	not known(null, sizes)
	known("red", sizes)
}

known(tenant, figures) if limits.over(tenant, figures) == set() with data.gateway.config as {"missions": {"limits": {}}}
