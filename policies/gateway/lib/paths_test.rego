package gateway.lib.paths_test

import rego.v1

import data.gateway.lib.paths

test_under_and_beside if {
	every path in ["a", "a/b", "./a/b", "a/./b", "././a", "a/././b"] { paths.closing(path, ["a/"]) == {"a/"} }
	every path in ["ab", "b/a", "A", "a.b"] { paths.closing(path, ["a/"]) == set() }
}

test_without_a_slash_a_prefix_is_a_folder_too if {
	paths.closing("a/b", ["a"]) == {"a"}
	paths.closing("ab", ["a"]) == set()
}

test_the_empty_prefix_holds_everything if paths.closing("x", [""]) == {""}

test_each_prefix_that_holds_is_named if paths.closing("a/b/c", ["a/", "a/b/", "c/"]) == {"a/", "a/b/"}

test_without_a_path_or_a_list_nothing_is_known if {
	not known(null, [])
	not known(1, [])
	not known("a", null)
	known("a", [])
}

known(path, closed) if paths.closing(path, closed) == set()
