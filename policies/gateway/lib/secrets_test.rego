package gateway.lib.secrets_test

import rego.v1

import data.gateway.lib.secrets

config := {"secrets": {"TOKEN": {"effects": ["http.request"], "hosts": ["h"], "kinds": ["http"], "tenants": ["red"]}}}

opened(names, kind, tenant) if secrets.opened(names, kind, tenant) with data.gateway.config as config

test_opened_to_kind_and_tenant if {
	opened(["TOKEN"], "http", "red")
	opened([], "http", "red")
	not opened(["TOKEN"], "transform", "red")
	not opened(["TOKEN"], "http", "blue")
	not opened(["TOKEN", "OTHER"], "http", "red")
	not opened({"TOKEN": "TOKEN"}, "http", "red")
}

test_closed_are_named if {
	secrets.closed(["TOKEN", "OTHER"], "http", "red") == {"OTHER"} with data.gateway.config as config
	secrets.closed(["TOKEN"], "http", "blue") == {"TOKEN"} with data.gateway.config as config
}

sends(name, operation, host) if secrets.sends(name, operation, host) with data.gateway.config as config

test_sent_where_it_says if {
	sends("TOKEN", "http.request", "h")
	not sends("TOKEN", "file.write", "h")
	not sends("TOKEN", "http.request", "x.h")
	not sends("OTHER", "http.request", "h")
}
