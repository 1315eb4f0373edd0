# METADATA
# title: Workspace paths
# description: Which closed prefixes of data.json hold a path.
# scope: package
package gateway.lib.paths

import rego.v1

# The prefixes of `closed` that hold `path`; "protected/" holds "protected" itself too. Undefined without a path or a
# list, so that an empty set always means that the list was looked at.
# The sanitizer refuses "..", absolute paths, empty segments and encodings before policy is asked, and names are
# compared as the file system does, byte for byte.
closing(path, closed) := {prefix |
	some prefix in closed
	startswith(concat("", [plain(path), "/"]), folder(prefix))
} if {
	is_string(path)
	is_array(closed)
}

# `a/./b` and `a/b` are one file.
plain(path) := path if not contains(path, "./")

plain(path) := concat("/", [segment | some segment in split(path, "/"); segment != "."]) if contains(path, "./")

folder(prefix) := "" if prefix == ""

folder(prefix) := concat("", [trim_right(prefix, "/"), "/"]) if prefix != ""
