package gateway.lib.windows_test

import rego.v1

import data.gateway.lib.windows

spans := {
	"office": {"weekdays": ["monday", "tuesday", "wednesday", "thursday", "friday"], "from": "08:00", "to": "18:00"},
	"night": {"weekdays": ["friday"], "from": "22:00", "to": "06:00"},
	"dawn": {"from": "23:30", "to": "00:30"},
	"always": {"from": "00:00", "to": "24:00"},
	"freeze": {"starts": "2026-12-20T00:00:00Z", "ends": "2027-01-04T06:00:00Z"},
}

at(minute, weekday) := {"rfc3339": minute, "weekday": weekday, "minute_of_day": 0, "unix_seconds": 0}

thursday(clock) := at(concat("", ["2026-11-26T", clock, ":00Z"]), "thursday")

facts := {
	"subjects": ["ann"],
	"tenants": ["red"],
	"roles": ["submitter", "deployer"],
	"labels": {"team": "reports", "stage": "live"},
	"kinds": ["command"],
	"effects": ["command.run"],
	"commands": ["deploy"],
	"methods": ["gateway.v1.MissionService/SubmitMission"],
}

closing(entries) := object.union({"name": "c", "at": ["step"], "message": "m"}, entries)

config(closings) := {"windows": spans, "closings": closings}

holds_in(window, now) if windows.holding("step", facts, now) != set() with data.gateway.config as config([closing({"closed_in": [window]})])

test_office_hours if {
	every clock in ["08:00", "12:30", "17:59"] { holds_in("office", thursday(clock)) }
	every clock in ["00:00", "07:59", "18:00", "23:59"] { not holds_in("office", thursday(clock)) }
	not holds_in("office", at("2026-11-28T12:00:00Z", "saturday"))
}

test_hours_over_midnight_belong_to_the_day_on_which_they_begin if {
	holds_in("night", at("2026-11-27T22:00:00Z", "friday"))
	holds_in("night", at("2026-11-28T05:59:00Z", "saturday"))
	not holds_in("night", at("2026-11-28T06:00:00Z", "saturday"))
	not holds_in("night", at("2026-11-27T05:59:00Z", "friday"))
	not holds_in("night", at("2026-11-28T22:00:00Z", "saturday"))
}

test_hours_without_weekdays_are_of_every_day if {
	every weekday, _ in windows.day_before {
		holds_in("dawn", at("2026-11-26T23:30:00Z", weekday))
		holds_in("dawn", at("2026-11-26T00:29:00Z", weekday))
		not holds_in("dawn", at("2026-11-26T00:30:00Z", weekday))
		holds_in("always", at("2026-11-26T00:00:00Z", weekday))
		holds_in("always", at("2026-11-26T23:59:00Z", weekday))
	}
}

test_every_day_has_one_before_it if {
	days := {day | some day, _ in windows.day_before}
	days == {day | some day in windows.day_before}
	count(days) == 7
}

test_dates if {
	not holds_in("freeze", at("2026-12-19T23:59:00Z", "saturday"))
	holds_in("freeze", at("2026-12-20T00:00:00Z", "sunday"))
	holds_in("freeze", at("2027-01-04T05:59:00Z", "monday"))
	not holds_in("freeze", at("2027-01-04T06:00:00Z", "monday"))
}

closed_by(entries) if windows.holding("step", facts, thursday("12:00")) != set() with data.gateway.config as config([closing(entries)])

test_open_in_closes_outside_of_all_that_it_names if {
	not closed_by({"open_in": ["office"]})
	not closed_by({"open_in": ["night", "office"]})
	closed_by({"open_in": ["night"]})
	closed_by({"open_in": ["night", "freeze"]})
}

test_closed_in_closes_inside_of_any_that_it_names if {
	closed_by({"closed_in": ["night", "office"]})
	not closed_by({"closed_in": ["night", "freeze"]})
}

test_a_window_that_nobody_has_described_closes if {
	closed_by({"open_in": ["lunch"]})
	closed_by({"closed_in": ["lunch"]})
}

test_each_selector_chooses if {
	every entries in [
		{"subjects": ["bob", "ann"]},
		{"tenants": ["red"]},
		{"roles": ["deployer"]},
		{"methods": ["gateway.v1.MissionService/SubmitMission"]},
		{"kinds": ["http", "command"]},
		{"effects": ["command.run"]},
		{"commands": ["deploy"]},
		{"labels": {"team": "reports"}},
		{"labels": {"team": "reports", "stage": "live"}},
		{},
	] {
		closed_by(object.union(entries, {"closed_in": ["always"]}))
	}
}

test_each_selector_leaves_others_alone if {
	every entries in [
		{"subjects": ["bob"]},
		{"tenants": ["blue"]},
		{"roles": ["operator"]},
		{"methods": ["gateway.v1.MissionService/PlanMission"]},
		{"kinds": ["http"]},
		{"effects": ["file.write"]},
		{"commands": ["build"]},
		{"labels": {"team": "sales"}},
		{"labels": {"team": "reports", "owner": "ann"}},
	] {
		not closed_by(object.union(entries, {"closed_in": ["always"]}))
	}
}

test_all_selectors_have_to_choose if not closed_by({"closed_in": ["always"], "tenants": ["red"], "kinds": ["http"]})

test_a_closing_of_another_place_does_not_hold if {
	windows.holding("effect", facts, thursday("12:00")) == set() with data.gateway.config as config([closing({"closed_in": ["always"]})])
}

test_without_a_time_nothing_is_known if {
	every now in [{}, {"rfc3339": "2026-11-26T12:00:00Z"}, {"weekday": "thursday"}, null] {
		not looked_at(now)
	}
}

looked_at(now) if windows.holding("step", facts, now) == set() with data.gateway.config as config([])

test_without_closings_nothing_is_closed if looked_at(thursday("12:00"))
