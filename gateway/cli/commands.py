"""The table of all commands: where each is, and the line that `--help` of its group has for it.

It is what makes `missiongate --help` and `--version` cheap: nothing of the gateway is imported before a command is
called. A test holds each line to the first paragraph of its function's docstring: tests/unit/gateway/cli/test_tree.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word; a group stands before what is in it."""

    help: str


@dataclass(frozen=True, slots=True)
class Row:
    """One command: `where` is module:function below gateway.cli."""

    where: str
    help: str


COMMANDS: Final[Mapping[str, Group | Row]] = {
    "demo": Row(
        "demo:demo", "Start a gateway in a temporary home, run nine missions, explain what happened, verify the log."
    ),
    "config": Group("The configuration: file, environment and flags."),
    "config check": Row(
        "config:check", "Check every rule, and say all that is broken: key, rule, and the place where it was said."
    ),
    "config show": Row(
        "config:show", "Show what is in force, and who has said so: flag, env, file or default. Secrets are not shown."
    ),
    "doctor": Row(
        "doctor:doctor",
        "Look at everything that a gateway needs; also beside one that runs. Exit 1 where something fails.",
    ),
    "backup": Row(
        "backup:backup",
        "Copy a home, also while its gateway runs, and verify the copied log. Without an option, keys are left out.",
    ),
    "restore": Row("backup:restore", "Verify a backup, and make a new home of it."),
    "init": Row("home:init", "Make the gateway's home: signing key, policy bundle, configuration, first token."),
    "serve": Row("home:serve", "Run the gateway until SIGTERM or SIGINT; SIGHUP reads the configuration anew."),
    "plan": Row("plan:plan", "Check a mission, order its steps and ask policy about it; nothing runs."),
    "submit": Row("missions:submit", "Submit a mission; with --watch, exit 1 where it did not succeed."),
    "get": Row(
        "missions:get",
        "Show a mission and, once it has ended, its results; or give out its result, or one step's output.",
    ),
    "list": Row("missions:list_missions", "List missions, newest first."),
    "watch": Row("missions:watch", "Follow a mission to its end; exit 1 where it did not succeed."),
    "cancel": Row("control:cancel", "Cancel a mission."),
    "pause": Row("control:pause", "Pause a mission: what runs goes on, nothing else starts."),
    "resume": Row("control:resume", "Let a paused mission go on."),
    "retry": Row(
        "control:retry",
        "Begin an ended mission anew, keeping what it has completed; with --watch, exit 1 where it did not succeed.",
    ),
    "approvals": Row("approvals:approvals", "List what waits for a decision, oldest first."),
    "approve": Row(
        "approvals:approve", "Decide what a step or policy asks, after showing it; a decision cannot be taken back."
    ),
    "sanitize": Row(
        "sanitize:sanitize",
        'Read JSON strings from standard input, one a line; print a verdict for each: {"ok", "value", "code"}.',
    ),
    "stats": Row("stats:stats", "Show how missions and steps did: counts, success, lengths, errors and trend."),
    "history": Row("stats:history", "List steps that have ended, the newest first."),
    "audit": Group("The audit log."),
    "audit verify": Row(
        "audit:verify", "Verify a log, a bundle or one event's proof offline; exit 1 names the first bad event."
    ),
    "audit show": Row(
        "audit_show:show", "Show events of the audit log, one a line. It does not verify them: audit verify does."
    ),
    "audit prove": Row("audit_prove:prove", "Prove that an event is in the signed log, or that the log only grew."),
    "audit checkpoint": Row(
        "audit_prove:checkpoint",
        "Print the newest signed checkpoint, to be kept elsewhere: it shows later what was rolled back or rewritten.",
    ),
    "audit export": Row(
        "audit_export:export",
        "Write events, a proof for each, and the signed checkpoint to a new folder, to be checked offline by anybody.",
    ),
    "audit replay": Row(
        "audit_replay:replay",
        "Run a recorded mission again, step by step, and compare each digest with the log; exit 1 where one differs.",
    ),
    "audit ocsf": Row(
        "audit_ocsf:ocsf",
        "Print events as OCSF, one JSON object a line. Nothing is verified: that is for audit verify.",
    ),
    "audit index": Group("The index of the log."),
    "audit index rebuild": Row(
        "audit_index:rebuild", "Make the index of a log anew. A gateway that runs keeps its own."
    ),
    "erase": Group("Erase what is kept, for good."),
    "erase mission": Row(
        "erase:mission", "Erase what is kept of an ended mission and of its parts: all but ids, times and counts."
    ),
    "erase subject": Row(
        "subjects:erase_subject",
        "Erase a person: what they have submitted, what was decided for them, and who they were for the audit log.",
    ),
    "hook": Group("Hooks: make, build, test, measure, sign, publish, put in force."),
    "hook new": Row(
        "hook.authoring:new",
        "Make a folder NAME with a hook that builds, and whose cases pass; it is for you to change.",
    ),
    "hook build": Row(
        "hook.authoring:build", "Compile the hook into module.wasm, and say whether a gateway would accept it."
    ),
    "hook test": Row(
        "hook.authoring:run_cases",
        "Run cases.json in the sandbox: exit 1 if an answer is not as expected, and show what each case took.",
    ),
    "hook bench": Row(
        "hook.authoring:bench",
        "Run each case many times, and draw how long it took; fuel and memory are the same in every run.",
    ),
    "hook sign": Row(
        "hook.registry:sign",
        "Sign a hook: name, version and SHA-256 of each file, into hook.sig; a signature that is there is replaced.",
    ),
    "hook push": Row("hook.registry:push", "Publish a signed hook; the same once more changes nothing."),
    "hook list": Row("hook.registry:list_hooks", "List all versions of all hooks, the newest of a name first."),
    "hook enable": Row(
        "hook.registry:enable",
        "Put a version in force, in the place of the one that is; without a version, the newest.",
    ),
    "hook disable": Row(
        "hook.registry:disable",
        "Take a hook out of force; with a version, only if that one is. Its steps that have begun go on.",
    ),
    "hook rollback": Row(
        "hook.registry:rollback", "Take back the last change of a hook; with a version, only if that one is in force."
    ),
    "keys": Group("Signing keys."),
    "keys new": Row("keys:new", "Make an Ed25519 key pair; print the half that goes into a gateway's configuration."),
    "keys show": Row(
        "keys:show", "Show the public half of a signing key, and whether the key is encrypted. It takes no passphrase."
    ),
    "keys passphrase": Row(
        "keys:passphrase", "Give a signing key a passphrase, or another one. The key stays the same."
    ),
    "keys rotate": Row(
        "keys:rotate", "Hand the log of a gateway, which is stopped, on to a new key; or end what was broken off."
    ),
    "keys rotate-payloads": Row(
        "payload_keys:rotate_payloads",
        "Wrap the keys of all missions by a new master key, and destroy the old one; the gateway must not run.",
    ),
    "policy": Group("Policy: check, test and explain a bundle, and put it in force."),
    "policy check": Row(
        "policy.check:check", "Tell everything for which a gateway would refuse the bundle; exit 1 where it would."
    ),
    "policy test": Row(
        "policy.testing:run_suite",
        "Run the tests of a bundle: exit 0 if all pass, 2 if one does not, 1 if they cannot be run.",
    ),
    "policy eval": Row(
        "policy.evaluate:evaluate",
        "Print what a bundle decides for an input: exit 0 where it is allowed, 3 where it is refused.",
    ),
    "policy explain": Row(
        "policy.explaining:explain",
        "Tell why an input is refused, rule by rule, and what would be allowed: exit 0 where it is allowed, else 3.",
    ),
    "policy input": Row(
        "policy.inputs:input_document",
        "Print the input document that a gateway would make of a mission, for you to change and to evaluate.",
    ),
    "policy schema": Row(
        "policy.inputs:schema", "Print the JSON Schema of an input document, or of a decision; without NAME, list them."
    ),
    "policy replay": Row(
        "policy.replay:replay",
        "Ask a candidate bundle about every recorded decision, and list each that would change; exit 1 if one would.",
    ),
    "policy sign": Row(
        "policy.signing:sign",
        "Sign a bundle as OPA does: into .signatures.json of its folder, or an archive; what is there is replaced.",
    ),
    "policy push": Row("policy.remote:push", "Publish a bundle; the same once more changes nothing."),
    "policy list": Row("policy.remote:list_bundles", "List the bundles that a gateway keeps, the newest first."),
    "policy status": Row(
        "policy.remote:status",
        "Say which bundle is in force, where it comes from, and what a shadow bundle would decide otherwise.",
    ),
    "policy activate": Row(
        "policy.remote:activate",
        "Put a kept bundle in force; the gateway's source changes nothing then, until `policy follow`.",
    ),
    "policy rollback": Row("policy.remote:rollback", "Put in force what was so before."),
    "policy follow": Row("policy.remote:follow", "Let the gateway's source decide again which bundle is in force."),
    "secret": Group("Secrets, which missions refer to as ${secrets.NAME}."),
    "secret set": Row(
        "secret:set_secret",
        "Keep a value, or replace what is there. One line feed at the end of a file or a pipe is not part of it.",
    ),
    "secret list": Row("secret:list_secrets", "Show which secrets there are, and when each was last set."),
    "secret remove": Row("secret:remove_secret", "Forget a secret: steps that refer to it fail from now on."),
    "secret rotate-key": Row("secret:rotate_key", "Seal every secret anew under a new master key and a new data key."),
    "subjects": Group("Who stands behind the pseudonyms of the audit log."),
    "subjects lookup": Row(
        "subjects:lookup", "Show who a pseudonym is, or which one somebody has; that it was asked for is recorded."
    ),
}
