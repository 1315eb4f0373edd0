/** A rewrite: gives back a step's parameters, or its output, as they are to be from then on. */

import { answerWith, object, place } from "./abi";
import { refused } from "./failure";
import { member, Value } from "./value";

/** The input of a rewrite. */
export class Rewrite {
  constructor(
    /** "parameters" or "output". */
    public at: string,
    /** What the site's configuration gives this hook. */
    public settings: Value,
    /** Whose they are: id, name, step_type, attempt. */
    public step: Value,
    /** The parameters, an object, or the output, any value. */
    public value: Value,
  ) {}
}

export type RewriteHook = (rewrite: Rewrite) => Value;

let hook: RewriteHook | null = null;

/** Exports a rewrite; what `run` returns stands where `value` stood. */
export function exportRewrite(run: RewriteHook): void {
  hook = run;
  answerWith("rewrite", (document: Value): Value => {
    const at = place(document, ["parameters", "output"]);
    const settings = object(document, "settings");
    const step = object(document, "step");
    const value = member(document, at);
    return refused() ? document : Value.object().set(at, hook!(new Rewrite(at, settings, step, value)));
  });
}
