/**
 * An observer: looks at what has been allowed, or at an output. Nothing that it answers changes anything; an error
 * that it reports is counted, and its code recorded.
 */

import { answerWith, object, place } from "./abi";
import { refused } from "./failure";
import { member, Value } from "./value";

/** The input of an observer. */
export class Observe {
  constructor(
    /** "mission", "step" or "output". */
    public at: string,
    /** What the site's configuration gives this hook. */
    public settings: Value,
    /** The whole document (abi.md). */
    public document: Value,
  ) {}

  /** Returns a member of the document, which must be there. */
  member(name: string): Value {
    return member(this.document, name);
  }
}

export type ObserveHook = (observe: Observe) => void;

let hook: ObserveHook | null = null;

/** Exports an observer; `run` is called once per run, and reports by `refuse`. */
export function exportObserve(run: ObserveHook): void {
  hook = run;
  answerWith("observe", (document: Value): Value => {
    const at = place(document, ["mission", "step", "output"]);
    const settings = object(document, "settings");
    if (!refused()) hook!(new Observe(at, settings, document));
    return Value.object();
  });
}
