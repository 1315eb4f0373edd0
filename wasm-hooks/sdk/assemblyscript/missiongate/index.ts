/**
 * The SDK of hooks in AssemblyScript: pure functions of their input, exported under version 1 of the hook ABI (abi.md).
 *
 * A step is a file that calls `exportStep(run)` and has a function `run`; `exportScreen`, `exportRewrite` and
 * `exportObserve` are for the other kinds. Whatever goes wrong becomes an error document, by `refuse`; a run out of
 * memory traps, and the host reports it as what it is. An index beyond an array's end traps too: look before.
 *
 *     import { Answer, exportStep, member, Step, Value } from "missiongate";
 *
 *     exportStep(run);
 *
 *     function run(step: Step): Answer {
 *       step.parameters.expect(["path"]);
 *       const path = step.parameters.requireString("path");
 *       const read = step.outcome();
 *       if (read === null) return Answer.effect("file.read", Value.object().set("path", path));
 *       return Answer.output(member(read, "bytes"));
 *     }
 */

export { Text } from "./bytes";
export { invalid, refuse, refused } from "./failure";
export { exportObserve, Observe } from "./observe";
export { parse } from "./parse";
export { exportRewrite, Rewrite } from "./rewrite";
export { exportScreen, Narrow, Reason, Screen, Verdict } from "./screen";
export { Answer, Effect, exportStep, Step } from "./step";
export { member, Value } from "./value";
