# METADATA
# title: Time windows
# description: |
#   `windows` of data.gateway.config gives spans of time their names, `closings` closes something outside of some of
#   them (office hours) or inside of some (a change freeze). All times are UTC. Clock times and dates have one form each,
#   which the host holds data.json to, so that they are compared as texts.
# scope: package
package gateway.lib.windows

import rego.v1

# The closings that hold at `place` ("rpc", "mission", "step", "effect") in the minute `now`, which is `input.time`, for
# what is looked at: `facts` has, by selector, what a document says. Undefined where the document lacks one of them or
# its time, so that an empty set always means that all was looked at.
holding(place, facts, now) := {closing |
	some closing in data.gateway.config.closings
	place in closing.at
	about(closing, facts)
	shut(closing, now.weekday, substring(now.rfc3339, 11, 5), now.rfc3339)
} if {
	is_object(facts)
	is_string(now.weekday)
	is_string(now.rfc3339)
}

# Whether a closing is about what is looked at: each selector that it has names something of it. It looks at those only
# that the closing has, which are few.
about(closing, facts) if {
	apart := [selector |
		some selector in ["subjects", "tenants", "roles", "methods", "kinds", "effects", "commands"]
		wanted := closing[selector]
		found := [each | some each in facts[selector]; each in wanted]
		found == []
	]
	apart == []
	every label, value in object.get(closing, "labels", {}) { value == facts.labels[label] }
}

# Whether a closing holds on this weekday, at this time of day ("14:35"), in this minute ("2026-11-26T14:35:00Z").
shut(closing, weekday, clock, minute) if {
	names := closing.open_in
	not any_holds(names, weekday, clock, minute)
}

shut(closing, weekday, clock, minute) if {
	some name in closing.closed_in
	window := data.gateway.config.windows[name]
	holds(window, weekday, clock, minute)
}

# A window that nobody has described closes, whichever way it is named.
shut(closing, _, _, _) if {
	some name in closing.closed_in
	not data.gateway.config.windows[name]
}

any_holds(names, weekday, clock, minute) if {
	some name in names
	window := data.gateway.config.windows[name]
	holds(window, weekday, clock, minute)
}

# A span of the calendar: `from` is in it, `to` no longer.
holds(window, _, _, minute) if {
	window.starts <= minute
	minute < window.ends
}

# The same hours of some days, or of all.
holds(window, weekday, clock, _) if {
	window.from < window.to
	window.from <= clock
	clock < window.to
	on(window, weekday)
}

# Over midnight: the evening of such a day, and the morning after it.
holds(window, weekday, clock, _) if {
	window.from > window.to
	window.from <= clock
	on(window, weekday)
}

holds(window, weekday, clock, _) if {
	window.from > window.to
	clock < window.to
	on(window, day_before[weekday])
}

on(window, weekday) if {
	is_string(weekday)
	not window.weekdays
}

on(window, weekday) if weekday in window.weekdays

day_before := {
	"monday": "sunday",
	"tuesday": "monday",
	"wednesday": "tuesday",
	"thursday": "wednesday",
	"friday": "thursday",
	"saturday": "friday",
	"sunday": "saturday",
}
