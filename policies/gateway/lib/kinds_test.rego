package gateway.lib.kinds_test

import rego.v1

import data.gateway.lib.kinds

test_own_profile if {
	kinds.fits("transform", "semantic")
	kinds.fits("transform", null)
}

test_stricter_in_everything if kinds.fits("transform", "fast")

test_wider_in_one_thing if {
	every figure in ["wall_ms", "memory_bytes", "cpu_shares"] {
		not wider_by(figure)
	}
}

wider_by(figure) if {
	profiles := data.gateway.config.profiles
	odd := object.union(profiles.fast, {figure: 1000000000})
	config := object.union(data.gateway.config, {"profiles": {"odd": odd}})
	kinds.fits("transform", "odd") with data.gateway.config as config
}

test_unknown if {
	not kinds.fits("rm_rf", null)
	not kinds.fits("rm_rf", "fast")
	not kinds.fits("transform", "huge")
}

test_as_wide_in_each_thing if {
	every figure in ["wall_ms", "memory_bytes", "cpu_shares"] {
		as_wide_in(figure)
	}
}

as_wide_in(figure) if {
	profiles := data.gateway.config.profiles
	odd := object.union(profiles.fast, {figure: profiles.semantic[figure]})
	config := object.union(data.gateway.config, {"profiles": {"odd": odd}})
	kinds.fits("transform", "odd") with data.gateway.config as config
}
