package gateway.rpc_test

import rego.v1

import data.gateway.rpc

principal(roles) := {"subject": "ann", "tenant": "red", "roles": roles, "anonymous": false}

stranger := {"subject": "anonymous", "tenant": "default", "roles": ["anonymous"], "anonymous": true}

call(who, service, method, resource) := {
	"version": 1,
	"principal": who,
	"rpc": {"service": service, "method": method},
	"resource": resource,
	"time": {"rfc3339": "2026-11-26T14:35:00Z", "weekday": "thursday", "minute_of_day": 875, "unix_seconds": 1795703700},
}

missions := "gateway.v1.MissionService"

own := {"mission_id": "m1", "tenant": "red", "submitter": "ann"}

codes(decision) := {reason.code | some reason in decision.reasons}

test_no_input_is_denied if not rpc.decision.allow with input as {}

test_submitter_submits if rpc.decision.allow with input as call(principal(["submitter"]), missions, "SubmitMission", {})

test_unknown_role_gives_nothing if {
	decision := rpc.decision with input as call(principal(["root"]), missions, "SubmitMission", {})
	not decision.allow
	codes(decision) == {"rpc.method_not_granted"}
}

test_no_role_gives_nothing if not rpc.decision.allow with input as call(principal([]), missions, "ListMissions", {})

test_viewer_does_not_submit if not rpc.decision.allow with input as call(principal(["viewer"]), missions, "SubmitMission", {})

test_submitter_cancels_own if rpc.decision.allow with input as call(principal(["submitter"]), missions, "CancelMission", own)

test_submitter_does_not_cancel_others if {
	decision := rpc.decision with input as call(principal(["submitter"]), missions, "CancelMission", object.union(own, {"submitter": "bob"}))
	not decision.allow
	codes(decision) == {"rpc.not_your_mission"}
}

test_submitter_does_not_cancel_the_unknown if not rpc.decision.allow with input as call(principal(["submitter"]), missions, "CancelMission", {"mission_id": "m9"})

test_operator_cancels_in_tenant if rpc.decision.allow with input as call(principal(["operator"]), missions, "CancelMission", object.union(own, {"submitter": "bob"}))

control := {"PauseMission", "ResumeMission", "RetryMission"}

test_submitter_controls_own if {
	every method in control {
		rpc.decision.allow with input as call(principal(["submitter"]), missions, method, own)
	}
}

test_submitter_does_not_control_others if {
	every method in control {
		decision := rpc.decision with input as call(principal(["submitter"]), missions, method, object.union(own, {"submitter": "bob"}))
		not decision.allow
		codes(decision) == {"rpc.not_your_mission"}
	}
}

test_operator_controls_in_tenant if {
	every method in control {
		rpc.decision.allow with input as call(principal(["operator"]), missions, method, object.union(own, {"submitter": "bob"}))
	}
}

test_readers_do_not_control if {
	every method in control {
		not rpc.decision.allow with input as call(principal(["viewer", "auditor", "approver"]), missions, method, own)
	}
}

test_approver_decides if rpc.decision.allow with input as call(principal(["approver"]), missions, "DecideApproval", object.union(own, {"submitter": "bob"}))

test_approver_of_another_tenant_does_not_decide if not rpc.decision.allow with input as call(principal(["approver"]), missions, "DecideApproval", object.union(own, {"tenant": "blue"}))

test_nobody_decides_without_the_role if {
	every role in {"submitter", "operator", "auditor", "viewer"} {
		decision := rpc.decision with input as call(principal([role]), missions, "DecideApproval", own)
		not decision.allow
		codes(decision) == {"rpc.method_not_granted"}
	}
}

test_stranger_does_not_decide if not rpc.decision.allow with input as call(stranger, missions, "DecideApproval", own)

test_approver_submits_nothing if not rpc.decision.allow with input as call(principal(["approver"]), missions, "SubmitMission", {})

test_every_reader_sees_approvals_and_results if {
	every role in {"submitter", "operator", "auditor", "viewer", "approver"} {
		rpc.decision.allow with input as call(principal([role]), missions, "ListApprovals", {})
		rpc.decision.allow with input as call(principal([role]), missions, "WatchResults", own)
	}
}

test_other_tenant_is_denied if {
	decision := rpc.decision with input as call(principal(["operator"]), missions, "GetMission", object.union(own, {"tenant": "blue"}))
	not decision.allow
	codes(decision) == {"rpc.other_tenant"}
}

test_same_subject_of_another_tenant_owns_nothing if not rpc.decision.allow with input as call(principal(["submitter"]), missions, "CancelMission", object.union(own, {"tenant": "blue"}))

test_admin_is_held_to_its_tenant if not rpc.decision.allow with input as call(principal(["admin"]), missions, "GetMission", object.union(own, {"tenant": "blue"}))

# The audit log: who sees a mission's events, a tenant's, or all.

audits := "gateway.v1.AuditService"

of_scope(scope) := {"audit_scope": scope}

shown(who, method, resource) if {
	decision := rpc.decision with input as call(who, audits, method, resource)
	decision.allow
}

of_default(roles) := object.union(principal(roles), {"tenant": "default"})

test_auditor_of_the_log_reads_all_of_it if {
	every method in ["ReadEvents", "QueryEvents", "ProveInclusion", "ProveConsistency", "GetCheckpoint", "GetVerifierKeys"] {
		shown(of_default(["auditor"]), method, of_scope("log"))
		shown(of_default(["admin"]), method, of_scope("log"))
	}
}

test_auditor_of_another_tenant_sees_its_own if {
	shown(principal(["auditor"]), "QueryEvents", of_scope("tenant"))
	shown(principal(["auditor"]), "ProveInclusion", of_scope("tenant"))
	shown(principal(["auditor"]), "QueryEvents", object.union(own, of_scope("mission")))
	every method in ["ReadEvents", "QueryEvents", "ProveInclusion"] {
		decision := rpc.decision with input as call(principal(["auditor", "admin"]), audits, method, of_scope("log"))
		codes(decision) == {"rpc.audit_scope"}
	}
}

test_operator_sees_its_tenants_events if {
	every who in [principal(["operator"]), of_default(["operator"])] {
		shown(who, "QueryEvents", of_scope("tenant"))
		shown(who, "ProveInclusion", of_scope("tenant"))
		not shown(who, "QueryEvents", of_scope("log"))
		not shown(who, "ReadEvents", of_scope("log"))
	}
}

test_submitter_sees_events_of_its_own_missions if {
	every method in ["QueryEvents", "ProveInclusion"] {
		shown(principal(["submitter"]), method, object.union(own, of_scope("mission")))
		not shown(principal(["submitter"]), method, object.union(own, {"submitter": "bob", "audit_scope": "mission"}))
		not shown(principal(["submitter"]), method, object.union(own, {"tenant": "blue", "audit_scope": "mission"}))
		not shown(principal(["submitter"]), method, {"mission_id": "m9", "audit_scope": "mission"})
		not shown(principal(["submitter"]), method, of_scope("tenant"))
		not shown(principal(["submitter"]), method, of_scope("log"))
		not shown(of_default(["submitter"]), method, object.union(object.union(own, {"tenant": "default"}), of_scope("log")))
	}
}

test_submitter_sees_hashes_and_no_raw_log if {
	every method in ["GetCheckpoint", "GetVerifierKeys", "ProveConsistency"] {
		shown(principal(["submitter"]), method, {})
	}
	not shown(principal(["submitter"]), "ReadEvents", of_scope("log"))
}

test_others_see_nothing_of_the_log if {
	every role in ["viewer", "approver", "publisher", "policy_author", "policy_admin"] {
		every method in ["ReadEvents", "QueryEvents", "ProveInclusion"] {
			not shown(of_default([role]), method, object.union({"mission_id": "m1", "tenant": "default", "submitter": "ann"}, of_scope("mission")))
		}
	}
}

test_events_are_shown_to_nobody_where_the_scope_is_not_said if {
	every method in ["ReadEvents", "QueryEvents", "ProveInclusion"] {
		not shown(of_default(["auditor", "admin"]), method, {})
		not shown(of_default(["auditor", "admin"]), method, of_scope("everything"))
	}
}

test_without_log_tenants_nobody_sees_the_whole_log if {
	config := object.remove(data.gateway.config, ["audit"])
	every method in ["ReadEvents", "QueryEvents"] {
		decision := rpc.decision with input as call(of_default(["auditor"]), audits, method, of_scope("log")) with data.gateway.config as config
		codes(decision) == {"rpc.audit_scope"}
	}
}

test_stranger_may_use_what_data_opens if rpc.decision.allow with input as call(stranger, missions, "SubmitMission", {})

test_stranger_does_not_read_the_log if not rpc.decision.allow with input as call(stranger, "gateway.v1.AuditService", "ReadEvents", of_scope("log"))

test_stranger_borrows_no_role if not rpc.decision.allow with input as call(object.union(stranger, {"roles": ["admin"]}), "gateway.v1.AuditService", "ReadEvents", of_scope("log"))

test_token_does_not_borrow_anonymous if not rpc.decision.allow with input as call(principal(["anonymous"]), missions, "SubmitMission", {})

hooks := "gateway.v1.HookService"

in_force := {"EnableHook", "DisableHook", "RollbackHook"}

test_publisher_publishes_and_reads if {
	every method in {"PublishHook", "ListHooks", "GetHook"} {
		rpc.decision.allow with input as call(principal(["publisher"]), hooks, method, {})
	}
}

test_publisher_puts_nothing_in_force if {
	every method in in_force {
		decision := rpc.decision with input as call(of_default(["publisher"]), hooks, method, {})
		not decision.allow
		codes(decision) == {"rpc.method_not_granted"}
	}
}

test_publisher_submits_nothing if not rpc.decision.allow with input as call(principal(["publisher"]), missions, "SubmitMission", {})

policies := "gateway.v1.PolicyService"

test_policy_author_publishes_and_reads if {
	every method in ["Evaluate", "PublishBundle", "ListBundles", "GetPolicyStatus"] {
		rpc.decision.allow with input as call(of_default(["policy_author"]), policies, method, {})
	}
}

test_policy_author_puts_nothing_in_force if {
	every method in ["ActivateBundle", "RollbackBundle", "FollowSource", "ReplayDecisions"] {
		decision := rpc.decision with input as call(of_default(["policy_author"]), policies, method, {})
		codes(decision) == {"rpc.method_not_granted"}
	}
}

test_policy_admin_puts_in_force if {
	every method in ["ActivateBundle", "RollbackBundle", "FollowSource", "ReplayDecisions"] {
		rpc.decision.allow with input as call(of_default(["policy_admin"]), policies, method, {})
	}
}

test_privacy_erases_and_nothing_else if {
	rpc.decision.allow with input as call(principal(["privacy"]), "gateway.v1.PrivacyService", "EraseMission", own)
	every method in ["GetMission", "SubmitMission", "RetryMission"] {
		not rpc.decision.allow with input as call(principal(["privacy"]), missions, method, own)
	}
}

test_privacy_is_held_to_its_tenant if not rpc.decision.allow with input as call(principal(["privacy"]), "gateway.v1.PrivacyService", "EraseMission", object.union(own, {"tenant": "blue"}))

test_nobody_else_erases if {
	every role in ["submitter", "operator", "approver", "auditor", "publisher", "policy_admin", "viewer", "anonymous"] {
		not rpc.decision.allow with input as call(principal([role]), "gateway.v1.PrivacyService", "EraseMission", own)
	}
}

test_who_reads_the_log_may_ask_who_is_who if {
	every role in ["auditor", "operator", "privacy"] {
		rpc.decision.allow with input as call(principal([role]), "gateway.v1.PrivacyService", "LookupSubject", {})
	}
	every role in ["submitter", "approver", "publisher", "policy_admin", "viewer", "anonymous"] {
		not rpc.decision.allow with input as call(principal([role]), "gateway.v1.PrivacyService", "LookupSubject", {})
	}
}

test_only_privacy_erases_people if {
	rpc.decision.allow with input as call(principal(["privacy"]), "gateway.v1.PrivacyService", "EraseSubject", {})
	every role in ["auditor", "operator", "submitter", "viewer"] {
		not rpc.decision.allow with input as call(principal([role]), "gateway.v1.PrivacyService", "EraseSubject", {})
	}
}

statistics := "gateway.v1.StatisticsService"

test_readers_of_missions_see_their_tenants_statistics if {
	every role in ["submitter", "operator", "auditor", "viewer"] {
		every method in ["GetStatistics", "ListExecutions"] {
			rpc.decision.allow with input as call(principal([role]), statistics, method, {})
		}
	}
	every role in ["approver", "publisher", "policy_author", "policy_admin", "privacy", "anonymous"] {
		every method in ["GetStatistics", "ListExecutions", "GetConstraintStatistics"] {
			not rpc.decision.allow with input as call(principal([role]), statistics, method, {})
		}
	}
}

test_operators_and_auditors_see_what_rules_have_used if {
	every role in ["operator", "auditor"] {
		rpc.decision.allow with input as call(of_default([role]), statistics, "GetConstraintStatistics", {})
	}
	every role in ["submitter", "viewer"] {
		not rpc.decision.allow with input as call(of_default([role]), statistics, "GetConstraintStatistics", {})
	}
	every role in ["operator", "auditor", "admin"] {
		decision := rpc.decision with input as call(principal([role]), statistics, "GetConstraintStatistics", {})
		codes(decision) == {"rpc.site_only"}
	}
}

test_others_do_not_touch_policy if {
	every role in ["submitter", "operator", "approver", "publisher", "viewer", "anonymous"] {
		not rpc.decision.allow with input as call(of_default([role]), policies, "GetPolicyStatus", {})
	}
}

test_nobody_else_publishes_or_changes_hooks if {
	every role in {"submitter", "operator", "approver", "auditor", "viewer"} {
		every method in in_force | {"PublishHook"} {
			not rpc.decision.allow with input as call(of_default([role]), hooks, method, {})
		}
	}
}

test_stranger_publishes_nothing if not rpc.decision.allow with input as call(stranger, hooks, "PublishHook", {})

test_admin_puts_hooks_in_force if {
	every method in in_force {
		rpc.decision.allow with input as call(of_default(["admin"]), hooks, method, {})
	}
}

# What all tenants share is for who runs the gateway.

test_another_tenant_changes_nothing_that_all_share if {
	every role in ["admin", "policy_admin", "policy_author", "auditor"] {
		every method in ["Evaluate", "PublishBundle", "ListBundles", "GetPolicyStatus", "ActivateBundle", "RollbackBundle", "FollowSource", "ReplayDecisions"] {
			not rpc.decision.allow with input as call(principal([role]), policies, method, {})
		}
	}
	every method in in_force {
		decision := rpc.decision with input as call(principal(["admin"]), hooks, method, {})
		codes(decision) == {"rpc.site_only"}
	}
}

test_another_tenant_publishes_and_looks_at_hooks if {
	every method in ["PublishHook", "ListHooks", "GetHook"] {
		rpc.decision.allow with input as call(principal(["publisher"]), hooks, method, {})
	}
}

test_without_site_tenants_nobody_changes_what_all_share if {
	config := object.remove(data.gateway.config, ["site"])
	decision := rpc.decision with input as call(of_default(["admin"]), policies, "ActivateBundle", {}) with data.gateway.config as config
	codes(decision) == {"rpc.site_only"}
}

test_health_is_open if rpc.decision.allow with input as call(stranger, "grpc.health.v1.Health", "Check", {})

test_reflection_needs_a_role if not rpc.decision.allow with input as call(principal([]), "grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", {})

test_without_data_everything_is_denied if {
	not rpc.decision.allow with input as call(principal(["admin"]), missions, "GetMission", {}) with data.gateway.config as {}
}

# Separation of duties

separated(entries) := object.union(data.gateway.config, {"approvals": {"separation": entries}})

all_of_it := {"excluded_roles": ["submitter"], "exclusive_roles": ["payments"], "distinct_approvers": true}

of_bob := {"mission_id": "m1", "tenant": "red", "submitter": "bob", "submitter_roles": ["submitter", "payments"], "approved_by": ["eve"]}

deciding(roles, resource) := decision if {
	decision := rpc.decision with input as call(principal(roles), missions, "DecideApproval", resource) with data.gateway.config as separated(all_of_it)
}

test_an_approver_apart_decides if deciding(["approver"], of_bob).allow

test_an_excluded_role_does_not_decide if {
	decision := deciding(["approver", "submitter"], of_bob)
	not decision.allow
	codes(decision) == {"rpc.approver_excluded"}
}

test_whoever_shares_a_role_with_the_submitter_does_not_decide if {
	decision := deciding(["approver", "payments"], of_bob)
	not decision.allow
	codes(decision) == {"rpc.approver_shares_role"}
	deciding(["approver", "payments"], object.union(of_bob, {"submitter_roles": ["submitter"]})).allow
}

test_whoever_has_approved_another_step_does_not_decide if {
	decision := deciding(["approver"], object.union(of_bob, {"approved_by": ["eve", "ann"]}))
	not decision.allow
	codes(decision) == {"rpc.approver_repeated"}
}

test_without_what_is_compared_nobody_decides if {
	every field in ["submitter_roles", "approved_by"] {
		not deciding(["approver"], object.remove(of_bob, [field])).allow
	}
}

test_other_methods_are_not_separated if {
	every method in ["GetMission", "ListApprovals"] {
		rpc.decision.allow with input as call(principal(["approver", "submitter"]), missions, method, own) with data.gateway.config as separated(all_of_it)
	}
}

test_without_separation_data_nothing_is_compared if {
	rpc.decision.allow with input as call(principal(["approver", "submitter"]), missions, "DecideApproval", of_bob) with data.gateway.config as separated({})
}

# Time windows

office(selectors) := object.union(data.gateway.config, {
	"windows": {"office": {"weekdays": ["monday", "friday"], "from": "08:00", "to": "18:00"}},
	"closings": [object.union({"name": "office hours", "at": ["rpc"], "open_in": ["office"], "message": "come back on Friday"}, selectors)],
})

test_closed_now if {
	every selectors in [{}, {"roles": ["submitter"]}, {"methods": ["gateway.v1.MissionService/SubmitMission"]}] {
		decision := rpc.decision with input as call(principal(["submitter"]), missions, "SubmitMission", {}) with data.gateway.config as office(selectors)
		not decision.allow
		codes(decision) == {"rpc.closed_now"}
	}
}

test_open_to_others_and_on_friday if {
	every selectors in [{"roles": ["operator"]}, {"methods": ["gateway.v1.MissionService/RetryMission"]}] {
		rpc.decision.allow with input as call(principal(["submitter"]), missions, "SubmitMission", {}) with data.gateway.config as office(selectors)
	}
	friday := object.union(call(principal(["submitter"]), missions, "SubmitMission", {}), {"time": {"rfc3339": "2026-11-27T08:00:00Z", "weekday": "friday"}})
	rpc.decision.allow with input as friday with data.gateway.config as office({})
}

test_without_what_closings_look_at_a_call_is_denied if {
	every path in ["time", "time/weekday", "principal/subject", "principal/tenant"] {
		not rpc.decision.allow with input as json.remove(call(principal(["submitter"]), missions, "SubmitMission", {}), [path]) with data.gateway.config as office({"roles": ["operator"]})
	}
}

# Silence is a no: where the decision itself comes to nothing.

nothing(_, _, _) := 1 if false

test_no_answer_is_a_no if {
	decision := rpc.decision with input as {} with array.slice as nothing
	not decision.allow
	codes(decision) == {"rpc.undecided"}
}

test_only_decisions_on_approvals_are_told_of_separation if {
	config := object.union(office({}), {"approvals": {"separation": all_of_it}})
	shared := object.union(of_bob, {"approved_by": ["ann"]})
	decision := rpc.decision with input as call(principal(["approver", "submitter", "payments"]), missions, "GetMission", shared) with data.gateway.config as config
	codes(decision) == {"rpc.closed_now"}
}
